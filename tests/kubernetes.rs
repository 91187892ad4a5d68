//! What `deploy/k8s` installs: rendered by kustomize, valid by Kubernetes' own schemas, private, bounded, able to be
//! moved and stopped, and told nothing that the engine does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::files::{list, map, root, string, text};
use crate::support::process::program;

/// The oldest and the newest version of Kubernetes that it is checked for.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];
const ROLES: [&str; 5] = ["api", "saga", "projector", "relay", "notifier"];

/// What a folder comes to, each manifest validated.
fn rendered(folder: &str) -> Vec<Value> {
    let kustomize = root().join(".dev/kustomize/kustomize");
    assert!(kustomize.exists(), "{} is missing: run ./dev test", kustomize.display());
    let built = Command::new(kustomize).args(["build", folder]).current_dir(root()).output().unwrap();
    assert!(built.status.success(), "{folder}: {}", String::from_utf8_lossy(&built.stderr));
    let mut reading = Command::new(root().join(".dev/python/bin/python"))
        .arg(root().join("tests/peers/read_manifests.py"))
        .args(VERSIONS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reading.stdin.take().unwrap().write_all(&built.stdout).unwrap();
    let read = reading.wait_with_output().unwrap();
    assert!(read.status.success(), "{folder} is not valid");
    serde_json::from_slice(&read.stdout).unwrap()
}

fn of_kind<'all>(manifests: &'all [Value], kind: &str) -> Vec<&'all Value> {
    manifests.iter().filter(|manifest| manifest["kind"] == kind).collect()
}

fn name(manifest: &Value) -> &str {
    string(&manifest["metadata"]["name"])
}

/// What runs: each Deployment and Job with its pod.
fn pods(manifests: &[Value]) -> BTreeMap<&str, &Value> {
    let running =
        manifests.iter().filter(|manifest| ["Deployment", "Job"].contains(&string(&manifest["kind"])));
    running.map(|manifest| (name(manifest), &manifest["spec"]["template"]["spec"])).collect()
}

#[test]
fn rendered_it_is_private_and_bounded() {
    for folder in ["deploy/k8s/base", "deploy/k8s/overlays/example"] {
        let manifests = rendered(folder);
        let pods = pods(&manifests);
        let names: BTreeSet<String> = pods.keys().map(|name| (*name).to_owned()).collect();
        let expected = ROLES.into_iter().chain(["migrate"]).map(|role| format!("payments-{role}"));
        assert_eq!(names, expected.collect(), "{folder}");
        for (name, pod) in pods {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            assert_eq!(pod["serviceAccountName"], "payments", "{name}");
            assert_eq!(pod["enableServiceLinks"], false, "{name}");
            let [container] = &list(&pod["containers"]).collect::<Vec<_>>()[..] else { panic!("{name}") };
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(security["capabilities"]["drop"][0], "ALL", "{name}");
            for bound in [
                &container["resources"]["requests"]["cpu"],
                &container["resources"]["requests"]["memory"],
                &container["resources"]["limits"]["memory"],
            ] {
                assert!(bound.is_string(), "{name}: {}", container["resources"]);
            }
            let image = string(&container["image"]);
            let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
            assert!(tag.starts_with(|c: char| c.is_ascii_digit()), "{name}: {image} has no version");
        }
        let accounts = of_kind(&manifests, "ServiceAccount");
        assert!(accounts.iter().all(|account| account["automountServiceAccountToken"] == false));
        let policies = of_kind(&manifests, "NetworkPolicy");
        let all = policies.iter().find(|policy| name(policy) == "payments").unwrap();
        assert_eq!(all["spec"]["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
        for rule in policies.iter().flat_map(|policy| list(&policy["spec"]["ingress"])) {
            assert!(list(&rule["from"]).count() > 0, "{folder}: anybody may come in by {rule}");
        }
    }
}

#[test]
fn rendered_it_can_be_watched_moved_and_stopped() {
    let manifests = rendered("deploy/k8s/overlays/example");
    let settings =
        of_kind(&manifests, "ConfigMap").into_iter().find_map(|map| map["data"].get("payments.toml"));
    let drain: u64 = string(settings.unwrap())
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .filter(|(name, _)| ["shutdown_notice_ms", "drain_timeout_ms"].contains(name))
        .map(|(_, ms)| ms.parse::<u64>().unwrap())
        .sum();
    let budgets: BTreeSet<&str> = of_kind(&manifests, "PodDisruptionBudget").into_iter().map(name).collect();
    for deployment in of_kind(&manifests, "Deployment") {
        let (name, pod) = (name(deployment), &deployment["spec"]["template"]["spec"]);
        let container = &pod["containers"][0];
        for (probe, path) in
            [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
        {
            assert_eq!(container[probe]["httpGet"]["path"], path, "{name}: {probe}");
        }
        let role = name.strip_prefix("payments-").unwrap();
        assert_eq!(container["args"], serde_json::json!(["serve", "--roles", role]));
        assert!(budgets.contains(name), "{name} has no PodDisruptionBudget");
        assert!(list(&pod["topologySpreadConstraints"]).count() >= 2, "{name}");
        // Before it is killed: the notice, the drain, three signals of telemetry with 3 s each, and a margin.
        let grace_ms = pod["terminationGracePeriodSeconds"].as_u64().unwrap() * 1_000;
        assert!(grace_ms > drain + 9_000, "{name} is killed after {grace_ms} ms, and drains for {drain} ms");
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        for (key, value) in map(&deployment["spec"]["selector"]["matchLabels"]) {
            assert_eq!(&labels[key], value, "{name}");
        }
    }
    for budget in of_kind(&manifests, "PodDisruptionBudget") {
        let role = name(budget).strip_prefix("payments-").unwrap();
        assert_eq!(budget["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"], role);
    }
    let [scaler] = &of_kind(&manifests, "HorizontalPodAutoscaler")[..] else { panic!("one for the API") };
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], "payments-api");
    let [service] = &of_kind(&manifests, "Service")[..] else { panic!("one for the API") };
    assert_eq!(service["spec"]["selector"]["app.kubernetes.io/component"], "api");
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "http");
    let job = of_kind(&manifests, "Job")[0];
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["args"], serde_json::json!(["migrate"]));
}

#[test]
fn rendered_it_has_no_secret_and_says_nothing_that_the_engine_does_not_know() {
    let manifests = rendered("deploy/k8s/overlays/example");
    assert_eq!(of_kind(&manifests, "Secret").len(), 0);
    let configs: BTreeMap<&str, &Value> =
        of_kind(&manifests, "ConfigMap").into_iter().map(|map| (name(map), &map["data"])).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payments.toml");
    for (name, pod) in pods(&manifests) {
        let container = &pod["containers"][0];
        let mut environment: BTreeMap<String, String> = BTreeMap::new();
        for source in list(&container["envFrom"]) {
            let data = configs[string(&source["configMapRef"]["name"])];
            environment.extend(map(data).map(|(name, value)| (name.clone(), string(value).to_owned())));
        }
        for variable in list(&container["env"]) {
            let told = variable.get("value").map_or("from-kubernetes", string);
            environment.insert(string(&variable["name"]).to_owned(), told.to_owned());
        }
        // Each volume is mounted, each mount is a volume, and what is named by a path is below a mount.
        let mounts: BTreeMap<&str, &str> = list(&container["volumeMounts"])
            .map(|mount| (string(&mount["name"]), string(&mount["mountPath"])))
            .collect();
        let volumes: BTreeSet<&str> = list(&pod["volumes"]).map(|volume| string(&volume["name"])).collect();
        assert_eq!(mounts.keys().copied().collect::<BTreeSet<_>>(), volumes, "{name}");
        for (variable, path) in environment.iter().filter(|(_, value)| value.starts_with('/')) {
            assert!(mounts.values().any(|mount| path.starts_with(mount)), "{name}: {variable}: {path}");
        }
        let settings = configs.values().find_map(|data| data.get("payments.toml")).unwrap();
        fs::write(&file, string(settings)).unwrap();
        // The program itself says whether it knows them; what is mounted is elsewhere here.
        let here = environment.iter().map(|(name, value)| match value.as_str() {
            "/etc/payments/payments.toml" => (name, file.to_str().unwrap()),
            mounted if mounted.starts_with("/run/secrets/") => (name, file.to_str().unwrap()),
            value => (name, value),
        });
        let checked = Command::new(program()).args(["config", "check"]).envs(here).output().unwrap();
        assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stdout));
        let known = [
            "DATABASE_URL_FILE",
            "PAYMENTS_CONFIG",
            "PAYMENTS_LISTEN",
            "PAYMENTS_RISK_URL",
            "PAYMENTS_CHANNEL_URL",
            "POD_NAME",
            "POD_NAMESPACE",
        ];
        for variable in environment.keys() {
            let is_known = known.contains(&variable.as_str())
                || (variable.starts_with("PAYMENTS_") && variable.contains("__"))
                || variable.starts_with("OTEL_");
            assert!(is_known, "{name}: nobody reads {variable}");
        }
    }
}

/// Also where there is no kustomize.
#[test]
fn no_secret_is_in_the_tree() {
    let mut folders = vec![root().join("deploy/k8s")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|kind| kind == "yaml" || kind == "toml") {
                let text = fs::read_to_string(&entry).unwrap();
                let makes_one =
                    text.lines().any(|line| line == "kind: Secret" || line.starts_with("secretGenerator"));
                assert!(!makes_one && !text.contains("stringData"), "{}", entry.display());
                read += 1;
            }
        }
    }
    assert!(read > 10, "{read} files");
    let checked = Command::new(program())
        .args(["config", "check", "--config"])
        .arg(root().join("deploy/k8s/base/payments.toml"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let version = env!("CARGO_PKG_VERSION");
    assert!(text("deploy/k8s/base/kustomization.yaml").contains(&format!("newTag: {version}")), "{version}");
}
