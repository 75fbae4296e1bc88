//! Loads deploy/firewall.nft on this machine, for the port of one server.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use pipeline_tests::server::checkout;

/// The port in the rules, and their table.
const PORT: &str = "4222";
const TABLE: &str = "inet candlewire";

/// Loaded rules.
#[derive(Debug)]
pub(super) struct Firewall {
    table: String,
}

impl Firewall {
    /// Loads the rules for another port, in a table of their own.
    ///
    /// # Errors
    /// nft is missing, or the user may not change the firewall.
    pub(super) fn load(port: u16) -> anyhow::Result<Self> {
        let table = format!("{TABLE}_bench_{port}");
        let rules = std::fs::read_to_string(checkout().join("deploy/firewall.nft"))?;
        nft(&rules.replace(PORT, &port.to_string()).replace(TABLE, &table))?;
        Ok(Self { table })
    }

    /// Removes them.
    ///
    /// # Errors
    /// nft refuses: the rules stay, for a port that is no longer used.
    pub(super) fn unload(self) -> anyhow::Result<()> {
        nft(&format!("delete table {}\n", self.table))
    }
}

fn nft(rules: &str) -> anyhow::Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run nft: apt-get install nftables")?;
    nft.stdin.take().context("nft reads nothing")?.write_all(rules.as_bytes())?;
    let status = nft.wait()?;
    ensure!(status.success(), "nft refuses the rules of deploy/firewall.nft ({status}): this needs root");
    Ok(())
}
