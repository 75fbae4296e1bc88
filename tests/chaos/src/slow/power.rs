//! Power cuts: the store is on a separate file system, which goes down without flushing.

use std::time::Duration;

use bus::topology::Limits;
use pipeline_tests::server::Server;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::{Disk, FastWriteBack};
use super::ending::Ending;
use super::numbered_batches::{Confirmed, NumberedBatches, check};
use super::servers::SYNC_ALWAYS;

/// Cuts with the shipped setting.
const CUTS: usize = 20;
/// Most cuts of the control, which ends with the first torn batch.
const CONTROL_CUTS: usize = 40;
const DISK_MIB: u64 = 768;
/// Time before a cut, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 1_000..4_000;

/// Cuts the power with the shipped configuration, which must lose and tear nothing; and without its sync setting, as a
/// control that must tear a batch.
pub(super) async fn power(say: fn(&str)) -> Ending {
    match Disk::ext4(DISK_MIB).and_then(|disk| disk.cut()) {
        Ok(()) => {}
        Err(error) => return Ending::NotPossible(format!("{error:#}")),
    }
    // For both: the shipped setting must hold under the conditions of the control.
    let _hasty = match FastWriteBack::begin() {
        Ok(hasty) => hasty,
        Err(error) => return Ending::NotPossible(format!("{error:#}")),
    };
    match cuts(say).await {
        Ok(Ok(detail)) => Ending::Good(detail),
        Ok(Err(detail)) => Ending::Bad(detail),
        Err(error) => Ending::Bad(format!("{error:#}")),
    }
}

async fn cuts(say: fn(&str)) -> anyhow::Result<Result<String, String>> {
    let mut rng = StdRng::seed_from_u64(15);
    let mut batches = 0;
    for number in 1..=CUTS {
        let (confirmed, wrong) = cut(SYNC_ALWAYS, rng.random_range(LIFE_MS)).await?;
        say(&format!("cut {number} with sync always: {confirmed:?}, {} wrong", wrong.len()));
        if let Some(first) = wrong.first() {
            return Ok(Err(format!("cut {number} with sync always: {first}")));
        }
        batches += confirmed.batches;
    }
    for number in 1..=CONTROL_CUTS {
        let (confirmed, wrong) = cut("", rng.random_range(LIFE_MS)).await?;
        say(&format!("cut {number} with the default sync: {confirmed:?}, {} wrong: {:?}", wrong.len(), wrong.first()));
        // Lost and torn differ: the control must show a batch that is stored in part.
        if let Some(torn) =
            wrong.iter().find(|text| text.contains(" outputs instead of ") || text.contains("states by"))
        {
            let detail = format!("{CUTS} cuts, {batches} confirmed batches of 900, nothing lost or torn");
            return Ok(Ok(format!("{detail}; control with the default sync, cut {number}: {torn}")));
        }
    }
    Ok(Err(format!("{CONTROL_CUTS} cuts with the default sync tore nothing: the test proves nothing here")))
}

/// Runs a server on a new disk, cuts its power, and checks the store.
async fn cut(sync: &str, life_ms: u64) -> anyhow::Result<(Confirmed, Vec<String>)> {
    let disk = Disk::ext4(DISK_MIB)?;
    let mut server = Server::start_in(&disk.path(), |conf| conf.replace(SYNC_ALWAYS, sync));
    server.create_streams(&Limits::default()).await;
    let batches = NumberedBatches::default();
    let commits = tokio::spawn(batches.clone().commit(server.connect("stream-processor").await));
    let publishes = tokio::spawn(batches.clone().publish(server.connect("producer").await));
    tokio::time::sleep(Duration::from_millis(life_ms)).await;
    let confirmed = Confirmed { batches: batches.acknowledged(), feed: batches.published() };
    disk.cut()?;
    server.kill();
    commits.abort();
    publishes.abort();
    drop((commits.await, publishes.await));
    disk.mount_again()?;
    disk.check()?;
    server.start_again();
    let admin = server.connect("admin").await;
    // The streams themselves may never have reached the disk.
    let wrong = match check(&admin, confirmed).await {
        Ok(wrong) => wrong,
        Err(error) => vec![format!("the streams cannot be read: {error:#}")],
    };
    server.kill();
    Ok((confirmed, wrong))
}
