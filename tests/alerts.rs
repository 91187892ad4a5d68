//! Alerts are heard when they should be, each has its runbook, and whatever asks for a metric asks for one that
//! `docs/metrics.md` has and the engine tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::files::{list, root, string, text, yaml};
use crate::support::{Payment, Scene};

/// Runs `promtool` in `deploy/prometheus`.
fn promtool(arguments: &[&str]) {
    let program = root().join(".dev/prometheus/promtool");
    let running =
        Command::new(program).args(arguments).current_dir(root().join("deploy/prometheus")).output();
    let output = running.unwrap_or_else(|error| panic!("promtool: {error}; run ./dev test"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
}

/// The rules of `deploy/prometheus/alerts.yml`, alerts and records.
fn rules() -> Vec<Value> {
    let file = yaml("deploy/prometheus/alerts.yml");
    list(&file["groups"]).flat_map(|group| list(&group["rules"])).cloned().collect()
}

fn alerts() -> BTreeMap<String, Value> {
    let name = |rule: &Value| rule["alert"].as_str().map(str::to_owned);
    rules().into_iter().filter_map(|rule| Some((name(&rule)?, rule))).collect()
}

/// The metrics of `docs/metrics.md` with their types.
fn documented() -> BTreeMap<String, String> {
    let page = text("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        (name.to_owned(), rest.split(' ').next().unwrap().to_owned())
    })
    .collect()
}

/// Names of metrics in an expression of Prometheus: what is left of it without texts, selectors, ranges, lists
/// of labels, functions and words of the language.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    const WORDS: &[&str] = &["and", "or", "unless", "bool", "offset", "sum", "max", "min", "avg", "count"];
    const BEFORE_LABELS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut names = BTreeSet::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '{' => rest.find('}').unwrap() + 1,
            '[' => rest.find(']').unwrap() + 1,
            '"' => rest[1..].find('"').unwrap() + 2,
            c if in_name(c) => {
                let end = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
                let (word, behind) = (&rest[..end], rest[end..].trim_start());
                let labels = BEFORE_LABELS.contains(&word).then(|| rest.find(')').unwrap() + 1);
                if labels.is_none()
                    && !behind.starts_with('(')
                    && !WORDS.contains(&word)
                    && !first.is_ascii_digit()
                {
                    names.insert(word.to_owned());
                }
                labels.unwrap_or(end)
            }
            c => c.len_utf8(),
        };
        rest = &rest[end..];
    }
    names
}

/// Queries of the dashboard to Prometheus by their panels.
fn dashboard_queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/dashboards/payments.json")).unwrap();
    let of_prometheus = |target: &&Value| target["datasource"]["type"] == "prometheus";
    let in_panel = |panel: &Value| -> Vec<(String, String)> {
        let title = string(&panel["title"]).to_owned();
        let queries = list(&panel["targets"]).filter(of_prometheus);
        queries.map(|target| (title.clone(), string(&target["expr"]).to_owned())).collect()
    };
    list(&dashboard["panels"]).flat_map(in_panel).collect()
}

/// Queries that a page gives in `code`, possibly over the end of a line: those that name a metric.
fn queries_of_page(file: &str) -> Vec<(String, String)> {
    let (page, known) = (text(file), documented());
    let code = page.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " "));
    let code = code.filter(|code| code.contains("rate(") || code.contains("max") || code.contains("sum"));
    code.filter(|code| known.keys().any(|name| code.contains(name.as_str())))
        .map(|code| (file.to_owned(), code))
        .collect()
}

#[test]
fn prometheus_takes_its_files_and_each_alert_is_heard_when_it_should_be() {
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["test", "rules", "alerts_test.yml"]);
    let tests = text("deploy/prometheus/alerts_test.yml");
    for alert in alerts().keys() {
        let (fires, by_name) =
            (format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\""), format!("alertname: {alert}\n"));
        assert!(tests.contains(&fires) || tests.contains(&by_name), "no test in which {alert} is heard");
    }
}

#[test]
fn each_alert_says_how_bad_it_is_and_has_its_runbook() {
    let page = text("docs/runbooks.md");
    let sections: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts();
    assert_eq!(alerts.keys().map(String::as_str).collect::<BTreeSet<_>>(), sections, "alerts and runbooks");
    for (name, alert) in &alerts {
        assert!(["critical", "warning"].contains(&string(&alert["labels"]["severity"])), "{name}");
        let annotations = &alert["annotations"];
        assert!(string(&annotations["summary"]).ends_with('.'), "{name}");
        assert!(string(&annotations["description"]).len() > 30, "{name}");
        let anchor = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(string(&annotations["runbook_url"]), anchor, "{name}");
    }
    for section in page.split("\n## ").skip(1) {
        for part in ["\n*", "\n- **Felt:**", "\n- **Look:**", "\n- **Do:**"] {
            assert!(section.contains(part), "{part:?} is not in {}", section.lines().next().unwrap());
        }
    }
}

#[test]
fn every_query_parses_and_asks_for_metrics_that_there_are() {
    let rules = rules();
    let records: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["record"].as_str()).collect();
    let of_rules = rules.iter().map(|rule| ("alerts.yml".to_owned(), string(&rule["expr"]).to_owned()));
    let of_pages = ["docs/runbooks.md"].into_iter().flat_map(queries_of_page);
    let queries: Vec<_> = of_rules.chain(dashboard_queries()).chain(of_pages).collect();
    assert!(queries.len() > 90, "only {} queries were found", queries.len());

    let mut known: BTreeSet<String> = records.iter().map(|name| (*name).to_owned()).collect();
    for (name, kind) in documented() {
        if kind == "histogram" {
            known.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        } else {
            known.insert(name);
        }
    }
    for (place, query) in &queries {
        let asked = metrics_in(query);
        let unknown: Vec<_> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "{place}: {unknown:?} are not in docs/metrics.md: {query}");
    }

    // Grafana puts a range in before it asks.
    let rules: Vec<_> = queries
        .iter()
        .enumerate()
        .map(|(at, (_, query))| {
            let expr = query.replace("$__rate_interval", "1m");
            json!({"record": format!("query_{at}"), "expr": expr})
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.yml");
    fs::write(&file, json!({"groups": [{"name": "queries", "rules": rules}]}).to_string()).unwrap();
    promtool(&["check", "rules", "--lint=none", file.to_str().unwrap()]);
}

#[test]
fn names_are_found_in_expressions() {
    let of = |expression| metrics_in(expression).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(
        of("sum by (service) (rate(payment_errors_total{service!=\"a b\"}[5m]))"),
        "payment_errors_total"
    );
    assert_eq!(of("max(a) - (max(b offset 1h) or vector(0)) > 0.5 and on() x:y:z unless c"), "a b c x:y:z");
    assert_eq!(of("a / ignoring(service) group_left() sum(b) == bool 1e3"), "a b");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_measures_is_documented() {
    let scene = Scene::start("metrics");
    scene.client.funded("alice", "10.00").await;
    assert_eq!(scene.client.pay(&Payment::of("alice", "measured", "1.00")).await.status, 201);
    let metrics = scene.client.get("/metrics").await.text;
    let documented = documented();
    let families: Vec<_> = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(families.iter().any(|family| family.starts_with("projection_lag ")), "{metrics}");
    for family in families {
        let (name, kind) = family.split_once(' ').unwrap();
        assert_eq!(documented.get(name).map(String::as_str), Some(kind), "{name} in docs/metrics.md");
    }
}
