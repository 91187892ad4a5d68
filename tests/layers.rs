//! The house's rule: dependencies point inward, and siblings do not know each other.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each crate may use of ours. A new edge is a decision: make it here, with its reason.
const ALLOWED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("commands", &["domain"]),
    ("projections", &["domain"]),
    // The two ends of the log: the store behind the commands' ports, the projector behind the folds.
    ("adapter-postgres", &["commands", "domain", "projections"]),
    // What the log is published to, and who is told: only what the ports say of either.
    ("adapter-kafka", &["commands"]),
    // Requests go to the commands, questions to the read models.
    ("adapter-http", &["commands", "domain", "projections"]),
    ("adapter-services", &["commands", "domain"]),
    ("adapter-telemetry", &[]),
    (
        "payments",
        &[
            "adapter-http",
            "adapter-kafka",
            "adapter-postgres",
            "adapter-services",
            "adapter-telemetry",
            "commands",
            "domain",
            "projections",
        ],
    ),
    ("bench", &["adapter-postgres", "commands", "domain"]),
    ("acceptance", &[]),
];

/// Libraries that only one room may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("sqlx", &["adapter-postgres", "bench"]),
    ("postgres-es", &["adapter-postgres", "bench"]),
    ("rdkafka", &["adapter-kafka", "bench"]),
    ("axum", &["adapter-http", "adapter-services", "bench"]),
    ("governor", &["adapter-http"]),
    ("jsonwebtoken", &["adapter-http"]),
    ("tokio-rustls", &["adapter-http"]),
    ("standardwebhooks", &["adapter-services"]),
    // The document is made where the routes are.
    ("utoipa", &["adapter-http"]),
    ("clap", &["payments", "bench"]),
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
    metadata
        .packages
        .iter()
        .map(|package| {
            let normal = package.dependencies.iter().filter(|edge| edge.kind == DependencyKind::Normal);
            (package.name.to_string(), normal.map(|edge| edge.name.clone()).collect())
        })
        .collect()
}

#[test]
fn dependencies_point_inward() {
    let dependencies = dependencies();
    let ours: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    let described: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, described, "each crate of the workspace has its line in ALLOWED");
    for (name, allowed) in ALLOWED {
        let used: BTreeSet<&str> =
            dependencies[*name].iter().map(String::as_str).filter(|used| ours.contains(used)).collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(used.is_subset(&allowed), "{name} uses {:?}", used.difference(&allowed).collect::<Vec<_>>());
    }
}

#[test]
fn a_library_stays_in_its_room() {
    for (name, used) in dependencies() {
        for (library, rooms) in ROOMS {
            assert!(!used.contains(*library) || rooms.contains(&name.as_str()), "{name} uses {library}");
        }
    }
}
