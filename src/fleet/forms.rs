//! A plan in the forms that engines take.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::plan::{Due, Plan};
use crate::workspace::schedule::FLEET_GITLAB;

/// The version of the JSON form. A reader accepts unknown keys of the version it knows.
const VERSION: u32 = 1;

/// The plan for programs.
pub fn document(plan: &Plan) -> Value {
    let failed: Vec<Value> =
        plan.failed.iter().map(|(unit, e)| json!({ "unit": unit, "error": e.to_string() })).collect();
    let left_out: Vec<Value> =
        plan.left_out.iter().map(|l| json!({ "project": l.project, "why": l.why })).collect();
    json!({
        "version": VERSION, "shards": plan.shards, "due": plan.due, "done": plan.done, "claimed": plan.claimed,
        "failed": failed, "left_out": left_out,
    })
}

/// The units of each share that has any, joined by commas, with its number from 1.
fn shares(plan: &Plan) -> Vec<(usize, String)> {
    let units = |shard: usize| -> Vec<&str> {
        let mine = |d: &&Due| d.shard == shard;
        plan.due.iter().filter(mine).map(|d| d.unit.as_str()).collect()
    };
    let all = (1..=plan.shards).map(|shard| (shard, units(shard)));
    all.filter(|(_, units)| !units.is_empty()).map(|(shard, units)| (shard, units.join(","))).collect()
}

/// A matrix of GitHub Actions: for `strategy: matrix: ${{ fromJSON(…) }}`.
pub fn github_matrix(plan: &Plan) -> Value {
    let job = |(shard, units): (usize, String)| json!({ "shard": format!("{shard}/{}", plan.shards), "units": units });
    json!({ "include": shares(plan).into_iter().map(job).collect::<Vec<_>>() })
}

/// A child pipeline of GitLab CI; JSON is YAML.
pub fn gitlab(plan: &Plan) -> Value {
    let units: Vec<String> = shares(plan).into_iter().map(|(_, units)| units).collect();
    if units.is_empty() {
        // A pipeline without a job is an error there.
        return json!({ "nothing-due": { "script": ["echo 'no unit is due'"] } });
    }
    json!({
        "include": [{ "local": FLEET_GITLAB }],
        "fleet": { "extends": ".fleet-worker", "parallel": { "matrix": [{ "CARRY_UNITS": units }] } },
    })
}

/// An indexed Job of Kubernetes: each completion is a share by the units' names. The secret `git-carry` says in
/// `CARRY_WORKSPACE` where the workspace is. The Job is named by what is due, so that the same plan makes it once.
pub fn kubernetes(plan: &Plan, image: &str) -> Value {
    let shards = plan.shards;
    let keys: Vec<&str> = plan.due.iter().map(|d| d.key.as_str()).collect();
    let digest: String =
        Sha256::digest(keys.concat()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": format!("git-carry-fleet-{digest}") },
        "spec": {
            "completionMode": "Indexed",
            "completions": shards,
            "parallelism": shards.min(50),
            "backoffLimit": shards.saturating_mul(2).min(1000),
            "template": { "spec": {
                "restartPolicy": "Never",
                "containers": [{
                    "name": "worker",
                    "image": image,
                    "command": ["sh", "-c", "git clone --quiet \"$CARRY_WORKSPACE\" /tmp/ws && exec git-carry -C /tmp/ws fleet run"],
                    "env": [{ "name": "GIT_CARRY_SHARDS", "value": shards.to_string() }],
                    "envFrom": [{ "secretRef": { "name": "git-carry" } }],
                }],
            } },
        },
    })
}
