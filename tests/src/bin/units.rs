//! `units`: simulates `systemctl` and `journalctl` for the shipped units, below a folder and without systemd.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pipeline_tests::units::{Active, Root, Unit, UnitState, control, supervise};

/// Runs the shipped systemd units below a folder filled by `scripts/install --destdir`, without systemd
#[derive(Debug, Parser)]
#[command(name = "units")]
struct Args {
    /// Folder used as the root of the machine
    #[arg(long, env = "UNITS_ROOT", value_name = "DIR", global = true, default_value = "/")]
    root: PathBuf,

    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start units with their dependencies and wait until they are started
    Start {
        #[arg(required = true)]
        units: Vec<String>,
        /// Do not wait
        #[arg(long)]
        no_block: bool,
    },
    /// Stop units and wait until they have ended; parts of a target are stopped too, but not waited for
    Stop {
        #[arg(required_unless_present = "all")]
        units: Vec<String>,
        /// All running units
        #[arg(long)]
        all: bool,
    },
    /// Stop and start units
    Restart { units: Vec<String> },
    /// Make units reload their configuration
    Reload { units: Vec<String> },
    /// Start units with the target that wants them
    Enable {
        units: Vec<String>,
        /// Also start them now
        #[arg(long)]
        now: bool,
    },
    /// Undo `enable`
    Disable {
        units: Vec<String>,
        /// Also stop them
        #[arg(long)]
        now: bool,
    },
    /// Exit code 0 when all units are active, else 3
    IsActive { units: Vec<String> },
    /// Exit code 0 when one of the units has failed, else 1
    IsFailed { units: Vec<String> },
    /// Exit code 0 when all units are enabled, else 1
    IsEnabled { units: Vec<String> },
    /// Show the state and log of units
    Status {
        units: Vec<String>,
        #[arg(long)]
        no_pager: bool,
    },
    /// Show properties: ActiveState, MainPID, NRestarts, StatusText, Result, ExecMainStatus
    Show {
        units: Vec<String>,
        #[arg(short, long, value_delimiter = ',')]
        property: Vec<String>,
        /// Without the property names
        #[arg(long)]
        value: bool,
    },
    /// Send a signal to the processes of units
    Kill {
        units: Vec<String>,
        #[arg(short, long, default_value = "TERM")]
        signal: String,
    },
    /// Reset the failed state of units
    ResetFailed { units: Vec<String> },
    /// Does nothing: units are read at each start
    DaemonReload,
    /// Print what units have logged, as `journalctl -u UNIT`
    Journal {
        #[arg(short, long = "unit", required = true)]
        unit: Vec<String>,
        /// Only the last lines
        #[arg(short = 'n', long)]
        lines: Option<usize>,
        #[arg(long)]
        no_pager: bool,
    },
    /// Supervise one unit; called by `start`
    #[command(hide = true)]
    Supervise { unit: String, after: Vec<String> },
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    let root = Root::at(&args.root)?;
    let own = std::env::current_exe()?;
    match args.command {
        Verb::Start { units, no_block } => control::start(&root, &own, &units, !no_block)?,
        Verb::Stop { all: true, .. } => control::stop(&root, &own, &control::known(&root)?)?,
        Verb::Stop { units, .. } => control::stop(&root, &own, &units)?,
        Verb::Restart { units } => control::restart(&root, &own, &units)?,
        Verb::Reload { units } => control::reload(&root, &units)?,
        Verb::Enable { units, now } => {
            control::enable(&root, &units, true)?;
            if now {
                control::start(&root, &own, &units, true)?;
            }
        }
        Verb::Disable { units, now } => {
            control::enable(&root, &units, false)?;
            if now {
                control::stop(&root, &own, &units)?;
            }
        }
        Verb::IsActive { units } => {
            let is = |state: UnitState| state.active == Active::Active;
            return each(&root, &units, |state| println!("{}", state.active.word()), is, 3);
        }
        Verb::IsFailed { units } => {
            let states = control::matching(&root, &units)?.into_iter().map(|name| control::state(&root, &name).active);
            let states: Vec<Active> = states.collect();
            states.iter().for_each(|state| println!("{}", state.word()));
            return Ok(ExitCode::from(u8::from(!states.contains(&Active::Failed))));
        }
        Verb::IsEnabled { units } => {
            let all = units.iter().all(|unit| control::is_enabled(&root, unit));
            println!("{}", if all { "enabled" } else { "disabled" });
            return Ok(ExitCode::from(u8::from(!all)));
        }
        Verb::Status { units, .. } => return status(&root, &units),
        Verb::Show { units, property, value } => show(&root, &units, &property, value)?,
        Verb::Kill { units, signal } => control::kill(&root, &units, &signal)?,
        Verb::ResetFailed { units } => control::reset_failed(&root, &units)?,
        Verb::DaemonReload => {}
        Verb::Journal { unit, lines, .. } => {
            for name in control::matching(&root, &unit)? {
                let text = control::journal(&root, &name)?;
                let all: Vec<&str> = text.lines().collect();
                let from = lines.map_or(0, |lines| all.len().saturating_sub(lines));
                all[from..].iter().for_each(|line| println!("{line}"));
            }
        }
        Verb::Supervise { unit, after } => supervise(&root, &unit, &after)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a property of each unit; returns the given code when one of them fails the check
fn each(
    root: &Root,
    units: &[String],
    print: impl Fn(&UnitState),
    is: impl Fn(UnitState) -> bool,
    code: u8,
) -> anyhow::Result<ExitCode> {
    let mut all = true;
    for name in control::matching(root, units)? {
        let state = control::state(root, &name);
        print(&state);
        all &= is(state);
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(code) })
}

fn status(root: &Root, units: &[String]) -> anyhow::Result<ExitCode> {
    let units = if units.is_empty() { control::known(root)? } else { control::matching(root, units)? };
    let mut is_active = true;
    for name in units {
        let unit = Unit::load(root, &name)?;
        let state = control::state(root, &name);
        println!("● {name} - {}", unit.last("Unit", "Description").unwrap_or_default());
        println!("     Active: {} (result: {}, restarts: {})", state.active.word(), state.result, state.restarts);
        if state.main_pid != 0 {
            println!("   Main PID: {}", state.main_pid);
        }
        if !state.status.is_empty() {
            println!("     Status: \"{}\"", state.status);
        }
        let log = control::journal(root, &name).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].iter().for_each(|line| println!("  {line}"));
        is_active &= state.active == Active::Active;
    }
    Ok(if is_active { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn show(root: &Root, units: &[String], wanted: &[String], is_bare: bool) -> anyhow::Result<()> {
    for name in control::matching(root, units)? {
        let state = control::state(root, &name);
        let properties = [
            ("ActiveState", state.active.word().to_owned()),
            ("MainPID", state.main_pid.to_string()),
            ("NRestarts", state.restarts.to_string()),
            ("StatusText", state.status),
            ("Result", state.result),
            ("ExecMainStatus", state.exit_code.unwrap_or_default().to_string()),
        ];
        for (property, value) in properties {
            if wanted.is_empty() || wanted.iter().any(|name| name == property) {
                if is_bare { println!("{value}") } else { println!("{property}={value}") }
            }
        }
    }
    Ok(())
}
