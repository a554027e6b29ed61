//! `waft demo`: a fleet of SSH servers in this process, and a task on all of it, the real way.

use super::args::{Demo, Output, Targets};
use super::{Done, Failure, interrupt, print, run};
use crate::demo::{Fleet, FleetOptions, GROUP};
use crate::report::units;
use crate::tree;
use std::time::Instant;
use waft_proto::run::Problem;

/// What is the same on all hosts of one machine, so that it folds to one block.
const FILTER: &str = r#"filter:=["distribution*", "kernel", "processor_*"]"#;

pub(super) async fn demo(args: Demo) -> Done {
    let dir = tempfile::Builder::new().prefix("waft-demo-").tempdir().map_err(|error| {
        Failure::Own(Problem::new(
            "demo.dir",
            format!("no temporary directory: {}", crate::files::plain(&error)),
        ))
    })?;
    let options = FleetOptions {
        hosts: usize::from(args.hosts),
        rtt: args.rtt,
        keep: args.keep,
        dir: dir.path().join("fleet"),
    };
    let fleet = Fleet::start(options).await.map_err(Failure::Own)?;
    let done = show(&args, &fleet).await;
    if done.is_ok() && args.keep {
        keep(&fleet).await?;
    }
    fleet.shutdown().await.map_err(Failure::Own)?;
    done
}

async fn show(args: &Demo, fleet: &Fleet) -> Done {
    let targets = Targets {
        target: vec![GROUP.to_owned()],
        inventory: Some(fleet.inventory_path()),
        ssh_config: Some(fleet.ssh_config_path()),
        known_hosts: Some(fleet.known_hosts_path()),
        identity: vec![fleet.identity_path()],
        via: Vec::new(),
    };
    let hosts = args.hosts;
    print::out(&format!(
        "{hosts} hosts behind a bastion {} away, all of them in this process:\n\n",
        units::time(u64::try_from(args.rtt.as_millis()).unwrap_or(u64::MAX))
    ))?;
    let planned: Vec<tree::Target> =
        super::targets::resolve(&targets)?.into_iter().map(|resolved| resolved.target).collect();
    print::draw(&super::tree::drawing(&tree::shape(&planned)?, None))?;
    print::out(&format!("\n$ waft run facts --allow facts -p '{FILTER}' -t {GROUP}\n"))?;
    let started = Instant::now();
    let code = run::builtin("facts", &["facts"], &[FILTER], &targets, Output::default()).await?;
    let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let rows: Vec<Vec<String>> = fleet
        .links()
        .iter()
        .map(|link| {
            vec![
                format!("{} > {}", link.from, link.to),
                link.connections.to_string(),
                units::size(link.up_bytes),
                units::size(link.down_bytes),
            ]
        })
        .collect();
    print::out(&format!(
        "\nFrom nothing to all results, and back to nothing, in {}. What crossed each link (SSH included):\n\n",
        units::time(took)
    ))?;
    print::table(&["link", "connections", "up", "down"], &rows)?;
    Ok(code)
}

async fn keep(fleet: &Fleet) -> Result<(), Failure> {
    let first = fleet.hosts().find(|host| *host != crate::demo::BASTION).unwrap_or(crate::demo::BASTION);
    let inventory = fleet.inventory_path();
    print::out(&format!(
        "\nThe fleet stays until Ctrl-C.\n  enter a host:  {}\n  run on it:     waft run facts --allow facts -i {} -t {GROUP}\n",
        fleet.enter_command(first),
        inventory.display(),
    ))?;
    interrupt().await;
    Ok(())
}
