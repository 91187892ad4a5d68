//! What is deployed around the engine is of one piece: each file parses, names only what there is, keeps to
//! this machine, and has its secrets in one place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::support::files::{list, map, root, string, text, yaml};
use crate::support::process::Server;
use crate::support::{SandboxProcess, TestDatabase};

#[test]
fn every_service_is_pinned_bounded_private_and_tells_how_it_is() {
    let compose = yaml("docker-compose.yml");
    let services: BTreeSet<&str> = map(&compose["services"]).map(|(name, _)| name.as_str()).collect();
    for (name, service) in map(&compose["services"]) {
        let test = &service["healthcheck"]["test"];
        assert!(list(test).count() > 1, "{name} has no health check");
        // What is built here from a Dockerfile of its own is looked at below.
        let built_from = &service["build"]["args"]["IMAGE"];
        if !service["build"].is_string() {
            let image = built_from.as_str().unwrap_or_else(|| string(&service["image"]));
            assert!(is_pinned(image), "{name}: {image} has no version");
        }
        for port in list(&service["ports"]) {
            assert!(string(port).starts_with("127.0.0.1:"), "{name}: {port} is open to the network");
        }
        assert!(service["mem_limit"].is_string(), "{name} has no bound to its memory");
        for (needed, how) in map(&service["depends_on"]) {
            assert!(services.contains(needed.as_str()), "{name} needs {needed}");
            assert_eq!(how["condition"], "service_healthy", "{name} needs {needed}");
        }
        for volume in list(&service["volumes"]).map(string) {
            let from = volume.split(':').next().unwrap();
            match from.starts_with('.') {
                true => assert!(root().join(from).is_dir() && volume.ends_with(":ro"), "{name}: {volume}"),
                false => assert!(compose["volumes"].get(from).is_some(), "{name}: {volume}"),
            }
        }
    }
    for file in ["Dockerfile", "deploy/probe/Dockerfile"] {
        let text = text(file);
        let images = text.lines().filter_map(|line| line.strip_prefix("FROM "));
        for image in images.map(|image| image.split(' ').next().unwrap()).filter(|image| *image != "${IMAGE}")
        {
            assert!(is_pinned(image), "{file}: {image}");
        }
    }
    let of_maven = text("deploy/kafka/pom.xml");
    let kafka = string(&compose["services"]["kafka"]["image"]).split(':').nth(1).unwrap();
    assert!(of_maven.contains(&format!("<kafka.version>{kafka}</kafka.version>")), "two versions of Kafka");
}

/// Whether an image has a tag that stays what it is: a version, or a named release of Debian.
fn is_pinned(image: &str) -> bool {
    let tag = image.split_once(':').map_or("", |(_, tag)| tag);
    tag.contains(|c: char| c.is_ascii_digit()) || tag.starts_with("bookworm")
}

#[test]
fn secrets_are_in_the_compose_file_alone() {
    let mut folders = vec![root().join("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            // Names of modules are no secrets.
            if entry.file_name().is_some_and(|name| name == "go.mod" || name == "go.sum") {
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap().to_lowercase();
            for word in ["password:", "password=", "secret: ", "payments:payments@", "basicauth"] {
                assert!(!text.contains(word), "{word} in {}", entry.display());
            }
        }
    }
    assert!(!text("Dockerfile").to_lowercase().contains("password"));
}

#[test]
fn what_compose_sets_is_read_and_what_prometheus_asks_is_there() {
    let services = yaml("docker-compose.yml")["services"].take();
    for (service, file) in
        [("collector", "deploy/collector/collector.yaml"), ("jaeger", "deploy/jaeger/jaeger.yaml")]
    {
        let config = text(file);
        for (name, _) in map(&services[service]["environment"]) {
            assert!(config.contains(&format!("${{env:{name}:-")), "{file} does not read {name}");
        }
        // Whoever starts it by hand opens nothing to the network.
        let open = config.lines().filter(|line| !line.trim_start().starts_with('#'));
        assert!(!open.clone().any(|line| line.contains("0.0.0.0")), "{file} listens for the network");
    }

    let prometheus = yaml("deploy/prometheus/prometheus.yml");
    let jobs: BTreeMap<&str, &str> = list(&prometheus["scrape_configs"])
        .map(|job| (string(&job["job_name"]), string(&job["static_configs"][0]["targets"][0])))
        .collect();
    let roles = map(&services).filter(|(_, service)| service["command"][0] == "serve");
    let roles: Vec<_> = roles.map(|(name, _)| name.as_str()).collect();
    assert_eq!(roles.len(), 5, "{roles:?}");
    for role in roles {
        assert_eq!(jobs.get(role).copied(), Some(format!("{role}:8080").as_str()));
    }
    for (job, target) in jobs.into_iter().filter(|(job, _)| *job != "prometheus") {
        let (host, port) = target.split_once(':').unwrap();
        assert!(services.get(host).is_some(), "{job}: {target}");
        let told = services[host]["environment"].to_string() + &text_of_config(host);
        assert!(told.contains(port), "{job}: nothing says that {host} listens on {port}");
    }
}

fn text_of_config(service: &str) -> String {
    let file = format!("deploy/{service}/{service}.yaml");
    if root().join(&file).exists() { text(&file) } else { String::new() }
}

#[test]
fn the_collector_keeps_errors_and_slow_traces_and_leads_traces_and_logs_on() {
    let config = yaml("deploy/collector/collector.yaml");
    let policies: BTreeMap<_, _> = list(&config["processors"]["tail_sampling"]["policies"])
        .map(|policy| (string(&policy["type"]), policy))
        .collect();
    assert_eq!(policies["status_code"]["status_code"]["status_codes"][0], "ERROR");
    assert_eq!(policies["latency"]["latency"]["threshold_ms"], 1_000);
    assert_eq!(
        policies["probabilistic"]["probabilistic"]["sampling_percentage"],
        "${env:TAIL_KEEP_PERCENT:-100}"
    );
    let pipelines = &config["service"]["pipelines"];
    assert_eq!(map(pipelines).map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["logs", "traces"]);
    for (name, pipeline) in map(pipelines) {
        assert_eq!(pipeline["processors"][0], "memory_limiter", "{name}");
        for kind in ["receivers", "processors", "exporters"] {
            for part in list(&pipeline[kind]).map(string) {
                assert!(config[kind].get(part).is_some(), "{name}: {kind}: {part}");
            }
        }
        for exporter in list(&pipeline["exporters"]).map(string) {
            assert!(config["exporters"][exporter]["sending_queue"]["queue_size"].is_u64(), "{exporter}");
        }
    }
}

#[test]
fn grafana_finds_its_sources_and_its_dashboard() {
    let sources = yaml("deploy/grafana/provisioning/datasources/datasources.yaml");
    let services = yaml("docker-compose.yml")["services"].take();
    let mut uids = BTreeSet::new();
    for source in list(&sources["datasources"]) {
        uids.insert(string(&source["uid"]));
        let host = string(&source["url"]).strip_prefix("http://").unwrap().split(':').next().unwrap();
        assert!(services.get(host).is_some(), "{source}");
    }
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/dashboards/payments.json")).unwrap();
    let mut ids = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have the id {}", panel["id"]);
        for target in list(&panel["targets"]) {
            assert!(uids.contains(string(&target["datasource"]["uid"])), "{}", panel["title"]);
        }
    }
    let links = sources.to_string() + &dashboard.to_string();
    for uid in links.split("\"datasourceUid\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(uids.contains(uid), "{uid}");
    }
    let provider = yaml("deploy/grafana/provisioning/dashboards/dashboards.yaml");
    let folder = string(&provider["providers"][0]["options"]["path"]);
    let mounted = format!("./deploy/grafana/dashboards:{folder}:ro");
    assert!(list(&services["grafana"]["volumes"]).any(|volume| *volume == mounted.as_str()), "{mounted}");
}

/// As `docker compose up` does: nobody has made the schema before, and nobody goes first.
#[tokio::test(flavor = "multi_thread")]
async fn the_roles_of_the_compose_file_start_at_once_on_an_empty_database() {
    let services = yaml("docker-compose.yml")["services"].take();
    let database = TestDatabase::start("compose").await;
    let (url, folder) = (database.url(), database.folder());
    let sandbox = SandboxProcess::start(folder);
    let servers: Vec<(String, Server)> = std::thread::scope(|scope| {
        let mut starting = Vec::new();
        for (name, service) in map(&services).filter(|(_, service)| service["command"][0] == "serve") {
            let command: Vec<_> = list(&service["command"]).map(string).collect();
            let ["serve", "--roles", role] = command[..] else { panic!("{name}: {command:?}") };
            assert_eq!(*name, format!("payments-{role}"));
            // Those that are settings, and the ones that say where something is, which is elsewhere here.
            let mut settings: Vec<_> = map(&service["environment"])
                .filter(|(name, _)| name.starts_with("PAYMENTS_") && name.contains("__"))
                .map(|(name, value)| (name.as_str(), string(value)))
                .collect();
            settings.push(("OTEL_SDK_DISABLED", "true"));
            for (setting, value) in &mut settings {
                if *setting == "PAYMENTS_KAFKA__BROKERS" {
                    *value = "127.0.0.1:1";
                }
            }
            let (url, sandbox, log) = (&url, &sandbox, folder.join(format!("{name}.log")));
            let start = move || Server::start_with(role, url, sandbox, &log, &settings);
            starting.push((name.clone(), scope.spawn(start)));
        }
        starting.into_iter().map(|(name, server)| (name, server.join().unwrap())).collect()
    });
    assert_eq!(servers.len(), 5);
    for (name, server) in &servers {
        for path in ["readyz", "metrics"] {
            let answer = reqwest::get(format!("{}/{path}", server.url())).await.unwrap();
            assert_eq!(answer.status(), 200, "{name}: {path}");
        }
    }
}
