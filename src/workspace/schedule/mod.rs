//! Jobs that run the night: for cron, systemd, and the CI systems that teams have. Each is a file of the workspace, and
//! calls one script, which takes the newest queue, runs the night, and gives back what it wrote.

use std::path::Path;

/// What runs the night.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// A line of a crontab.
    Cron,
    /// A service and a timer of a user's systemd.
    Systemd,
    /// A workflow of GitHub Actions.
    GithubActions,
    /// A job of GitLab CI.
    GitlabCi,
    /// A pipeline of Jenkins.
    Jenkins,
    /// An array of Slurm, for a fleet.
    Slurm,
    /// An indexed Job of Kubernetes, for a fleet.
    Kubernetes,
}

/// A file of a job: its path from the workspace's root, and its text.
pub type JobFile = (&'static str, String);

/// The script that every job calls.
pub const SCRIPT: &str = "schedule/nightly.sh";

/// The files of a job for the workspace at `root`.
pub fn job(scheduler: Scheduler, root: &Path) -> Vec<JobFile> {
    let home = std::env::home_dir().unwrap_or_default();
    let fill = |text: &str| {
        text.replace("@root@", &root.to_string_lossy()).replace("@home@", &home.to_string_lossy())
    };
    let mut files = vec![(SCRIPT, include_str!("nightly.sh").to_owned())];
    match scheduler {
        Scheduler::Cron => files.push(("schedule/git-carry.cron", fill(include_str!("git-carry.cron")))),
        Scheduler::Systemd => {
            files.push(("schedule/git-carry.service", fill(include_str!("git-carry.service"))));
            files.push(("schedule/git-carry.timer", fill(include_str!("git-carry.timer"))));
        }
        Scheduler::GithubActions => {
            files.push((".github/workflows/git-carry.yml", include_str!("github-actions.yml").to_owned()));
        }
        Scheduler::GitlabCi => files.push((".gitlab-ci.yml", include_str!("gitlab-ci.yml").to_owned())),
        Scheduler::Jenkins => files.push(("Jenkinsfile", include_str!("Jenkinsfile").to_owned())),
        // Without a fleet there is one run, which needs no array.
        Scheduler::Slurm | Scheduler::Kubernetes => {}
    }
    files
}

/// The files of a fleet's job; none, if what runs on one machine alone is asked for.
pub fn fleet_job(scheduler: Scheduler) -> Option<Vec<JobFile>> {
    let mut files = vec![
        ("schedule/fleet-worker.sh", include_str!("fleet/worker.sh").to_owned()),
        ("schedule/fleet-gather.sh", include_str!("fleet/gather.sh").to_owned()),
    ];
    let file = |path, text: &str| (path, text.to_owned());
    match scheduler {
        Scheduler::Cron | Scheduler::Systemd => return None,
        Scheduler::Slurm => files.push(file("schedule/fleet.sh", include_str!("fleet/slurm.sh"))),
        Scheduler::Kubernetes => {
            files.push(file("schedule/fleet-kubernetes.yml", include_str!("fleet/kubernetes.yml")));
        }
        Scheduler::GithubActions => {
            files.push(file(".github/workflows/git-carry.yml", include_str!("fleet/github-actions.yml")));
        }
        Scheduler::GitlabCi => {
            files.push(file(".gitlab-ci.yml", include_str!("fleet/gitlab-ci.yml")));
            files.push(file(FLEET_GITLAB, include_str!("fleet/gitlab-worker.yml")));
        }
        Scheduler::Jenkins => files.push(file("Jenkinsfile", include_str!("fleet/Jenkinsfile"))),
    }
    Some(files)
}

/// The file of the workspace that says how a job of GitLab CI runs a share of a fleet.
pub const FLEET_GITLAB: &str = "schedule/fleet-worker.yml";

/// What a person does next, so that the job runs.
pub fn next_step(scheduler: Scheduler) -> &'static str {
    match scheduler {
        Scheduler::Cron => "add the line of schedule/git-carry.cron to your table: crontab -e",
        Scheduler::Systemd => "link and enable the timer: the head of schedule/git-carry.service tells how",
        Scheduler::GithubActions => {
            "put the deploy key into the secret CARRY_DEPLOY_KEY, and push the workspace"
        }
        Scheduler::GitlabCi => "make a pipeline schedule, set CARRY_TOKEN, and push the workspace",
        Scheduler::Jenkins => "push the workspace, and make a pipeline of its Jenkinsfile",
        Scheduler::Slurm => {
            "push the workspace, and run schedule/fleet.sh from cron on a machine that has sbatch"
        }
        Scheduler::Kubernetes => {
            "make the image and the secret that the head of schedule/fleet-kubernetes.yml tells of"
        }
    }
}
