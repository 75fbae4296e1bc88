//! What can go wrong on the NATS side, sorted by what the caller can do.

use service::Code;

/// An error of the bus. Messages say what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nobody listens at the address. Waiting may help.
    #[error("no NATS server answers at {url} ({detail}): start it, or name another one with --nats-url")]
    NoServer {
        /// The address tried.
        url: String,
        /// What the network said.
        detail: String,
    },
    /// The flags about NATS contradict each other, or name a file that cannot be used.
    #[error("{detail}")]
    Settings {
        /// What is wrong and what to change.
        detail: String,
    },
    /// The server refuses the user, or how it proves who it is.
    #[error("the NATS server at {url} refuses {who}: {advice}")]
    Authentication {
        /// The address tried.
        url: String,
        /// Who was refused.
        who: String,
        /// What to do about it.
        advice: String,
    },
    /// No TLS connection: one side does not trust the other, or does not speak it.
    #[error("no TLS connection to the NATS server at {url}: {detail}")]
    Tls {
        /// The address tried.
        url: String,
        /// Why not, and what to do about it.
        detail: String,
    },
    /// The user may not do what this command needs.
    #[error("the NATS server denies user {user:?}: {detail}; use another --nats-user, or allow it in deploy/nats/")]
    Permission {
        /// The user.
        user: String,
        /// The server's words.
        detail: String,
    },
    /// The server lacks what the transaction needs.
    #[error("the NATS server at {url} is version {found}: {floor} or newer is needed; scripts/setup installs one")]
    ServerTooOld {
        /// The address.
        url: String,
        /// Its version.
        found: String,
        /// The oldest version that works.
        floor: String,
    },
    /// The server runs without JetStream, or JetStream is not up yet.
    #[error(
        "JetStream does not answer at {url}: three servers may be choosing a leader; a single one needs the nats.conf of this project"
    )]
    NoJetStream {
        /// The address.
        url: String,
    },
    /// The user's account has no streams: it is another account's user, or JetStream is not up yet.
    #[error(
        "the account of user {user:?} has no JetStream at {url}: use a user of the pipeline, such as those of deploy/nats/services.conf"
    )]
    OtherAccount {
        /// The address.
        url: String,
        /// The user.
        user: String,
    },
    /// A stream has not been created yet. Waiting may help.
    #[error("stream {stream} does not exist: run `topology apply`")]
    StreamMissing {
        /// Its name.
        stream: String,
    },
    /// A stream is being restored. Waiting may help.
    #[error(
        "stream {stream} is being restored: wait until `topology restore` is done, or run it again if it was interrupted"
    )]
    Restoring {
        /// Its name.
        stream: String,
    },
    /// A stream was restored while it was being read. What is known of it may be of what is gone.
    #[error("{input} was restored from a backup meanwhile: start this service again, it goes on where the backup ends")]
    Restored {
        /// The stream.
        input: String,
    },
    /// The server cannot set aside what the streams may grow to.
    #[error(
        "the NATS server has no room for {bytes} bytes more ({description}): nothing was changed; raise max_file_store in \
         nats.conf, or ask for lower limits"
    )]
    NoRoom {
        /// The bytes.
        bytes: u64,
        /// The server's words.
        description: String,
    },
    /// The server has no partners for so many copies.
    #[error(
        "the NATS server cannot keep {replicas} copies ({description}): nothing was changed; start three servers with \
         deploy/nats/cluster.conf, or ask for --replicas 1"
    )]
    NoCluster {
        /// The copies.
        replicas: u32,
        /// The server's words.
        description: String,
    },
    /// A stream exists but is not what this version needs.
    #[error("stream {stream} differs from what is needed ({difference}): see `topology plan`")]
    StreamDiffers {
        /// Its name.
        stream: String,
        /// The first difference.
        difference: String,
    },
    /// The input is not the one that the state was made from.
    #[error(
        "{input} is not the log that the state of {output} was made from ({detail}): restore {input}, or run `topology rebuild {}`",
        .output.to_lowercase()
    )]
    WrongLog {
        /// The input stream.
        input: String,
        /// The output stream, which holds the state.
        output: String,
        /// What does not fit.
        detail: String,
    },
    /// The results so far were made with other settings.
    #[error(
        "{output} was made with \"{made}\", not with \"{asked}\": give the settings that it was made with, or run `topology rebuild {}`", .output.to_lowercase()
    )]
    OtherSettings {
        /// The output stream.
        output: String,
        /// What it was made with.
        made: String,
        /// What was asked for now.
        asked: String,
    },
    /// Two steps that follow each other judge event time differently.
    #[error(
        "the {service} was told \"{made}\", this service \"{asked}\" (milliseconds): give both the same --disorder and --lateness"
    )]
    OutOfStep {
        /// The step before.
        service: String,
        /// What it was told.
        made: String,
        /// What this one was told.
        asked: String,
    },
    /// Input that this partition has not read is gone.
    #[error(
        "partition {partition} has read {input} up to sequence {frontier}, but the stream now begins at {first}: what \
         lies between is lost; restore it from a backup, or go on without it with --accept-loss"
    )]
    Hole {
        /// The input stream.
        input: String,
        /// The partition.
        partition: u32,
        /// Up to here nothing is missing.
        frontier: u64,
        /// The first sequence that still exists.
        first: u64,
    },
    /// The checkpoint and the outputs of a partition contradict each other.
    #[error(
        "the checkpoint of {output} partition {partition} is torn or lost ({detail}): run `topology rebuild {}`",
        .output.to_lowercase()
    )]
    CheckpointLost {
        /// The output stream.
        output: String,
        /// The partition.
        partition: u32,
        /// What contradicts.
        detail: String,
    },
    /// Others use every consumer that this user may have. Waiting may help.
    #[error(
        "all consumers of {stream} that user {user:?} may have are in use: wait, or delete one as admin; they go by themselves \
         at most 5 minutes after their programs"
    )]
    NoConsumer {
        /// The user.
        user: String,
        /// The stream.
        stream: String,
    },
    /// The server refused a request for a reason of ours: a bug, or a limit of the server.
    #[error("the NATS server refused {what}: {description} ({code}/{err_code})")]
    Api {
        /// What was asked.
        what: String,
        /// HTTP-like class.
        code: u16,
        /// JetStream's own code.
        err_code: u32,
        /// The server's words.
        description: String,
    },
    /// There is no room for what should be stored. Nothing of it is; waiting helps once somebody makes room.
    #[error(
        "storage is full: the NATS server refused {what} ({description}, {code}/{err_code}); raise the stream's limit \
         with `topology apply`, or give the server more room: what waits is kept and goes on by itself"
    )]
    Full {
        /// What was asked.
        what: String,
        /// HTTP-like class.
        code: u16,
        /// JetStream's own code.
        err_code: u32,
        /// The server's words.
        description: String,
    },
    /// A message is larger than the server takes. It was not sent.
    #[error(
        "a message on {subject} has {bytes} bytes with its headers, and the NATS server takes {limit}: raise max_payload \
         in nats.conf"
    )]
    TooLarge {
        /// Where it should go.
        subject: String,
        /// Its bytes, headers included.
        bytes: usize,
        /// The server's limit.
        limit: usize,
    },
    /// The server is connected and says nothing. It may or may not have happened.
    #[error(
        "the NATS server does not answer {what}: when that goes on, its log says why; after a full disk it must be \
         started again"
    )]
    Silent {
        /// What was asked.
        what: String,
    },
    /// The connection went, or nobody listens. It may or may not have happened.
    #[error("no answer from the NATS server to {what}")]
    Unanswered {
        /// What was asked.
        what: String,
    },
    /// An answer or a stored record that cannot be read.
    #[error("cannot read {what}: {detail}")]
    Unreadable {
        /// What was read.
        what: String,
        /// Why it cannot be read.
        detail: String,
    },
}

/// A message of a batch did not arrive, or could not be stored.
const INCOMPLETE: u32 = 10176;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Try again: an outage.
    Retry,
    /// Try again slowly and say so: storage is full.
    RetrySlowly,
    /// Stop: somebody must mend it.
    Stop,
}

impl Error {
    /// What the server said instead of an answer.
    pub fn refusal(what: String, code: u16, err_code: u32, mut description: String) -> Self {
        if err_code == INCOMPLETE {
            // It says no more than this when it could not write the batch down either.
            description.push_str("; when that goes on, its disk may be full: its log says so");
        }
        match disposition_of(err_code) {
            Disposition::RetrySlowly => Self::Full { what, code, err_code, description },
            Disposition::Retry | Disposition::Stop => Self::Api { what, code, err_code, description },
        }
    }

    /// What a caller can do.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NoServer { .. }
            | Self::NoJetStream { .. }
            | Self::OtherAccount { .. }
            | Self::StreamMissing { .. }
            | Self::Restoring { .. }
            | Self::NoConsumer { .. }
            | Self::Silent { .. }
            | Self::Unanswered { .. } => Disposition::Retry,
            Self::Full { .. } => Disposition::RetrySlowly,
            Self::Api { err_code, .. } => disposition_of(*err_code),
            Self::Settings { .. }
            | Self::Authentication { .. }
            | Self::Tls { .. }
            | Self::Permission { .. }
            | Self::ServerTooOld { .. }
            | Self::NoRoom { .. }
            | Self::NoCluster { .. }
            | Self::StreamDiffers { .. }
            | Self::WrongLog { .. }
            | Self::Restored { .. }
            | Self::OtherSettings { .. }
            | Self::OutOfStep { .. }
            | Self::Hole { .. }
            | Self::CheckpointLost { .. }
            | Self::TooLarge { .. }
            | Self::Unreadable { .. } => Disposition::Stop,
        }
    }

    /// Whether what was expected to be the last message of a subject is not: somebody has written it since, or another
    /// attempt of ours is in flight.
    pub fn is_overtaken(&self) -> bool {
        matches!(self, Self::Api { err_code: 10071 | 10164, .. })
    }

    /// Whether only one partition must stop for it, while the others go on.
    pub fn concerns_partition(&self) -> bool {
        matches!(
            self,
            Self::Hole { .. } | Self::CheckpointLost { .. } | Self::TooLarge { .. } | Self::Unreadable { .. }
        )
    }

    fn exit_code(&self) -> Code {
        match self {
            Self::Settings { .. } => Code::BadConfig,
            Self::Authentication { .. }
            | Self::Tls { .. }
            | Self::Permission { .. }
            | Self::OtherAccount { .. }
            | Self::ServerTooOld { .. }
            | Self::NoRoom { .. }
            | Self::NoCluster { .. }
            | Self::StreamDiffers { .. }
            | Self::WrongLog { .. }
            | Self::OtherSettings { .. }
            | Self::OutOfStep { .. } => Code::Server,
            Self::NoServer { .. }
            | Self::NoJetStream { .. }
            | Self::StreamMissing { .. }
            | Self::Restoring { .. }
            | Self::Restored { .. }
            | Self::Hole { .. }
            | Self::CheckpointLost { .. }
            | Self::Full { .. }
            | Self::NoConsumer { .. }
            | Self::TooLarge { .. }
            | Self::Api { .. }
            | Self::Silent { .. }
            | Self::Unanswered { .. }
            | Self::Unreadable { .. } => Code::Failed,
        }
    }
}

/// The class of a JetStream error code. The first group was not stored and may be sent again; an unknown code is never
/// a success and is treated as an outage: what really happened is read from the stream.
pub fn disposition_of(err_code: u32) -> Disposition {
    match err_code {
        // Full: insufficient resources, no storage left, the stream's limits exceeded or its disk full.
        10023 | 10047 | 10077 => Disposition::RetrySlowly,
        // Wrong in itself: invalid configuration, message larger than the stream takes, another stream expected, two
        // roll-ups of a subject, age without permission; batches not allowed, not numbered, with an expected message id,
        // with a bad id, too many messages, a bad commit, a message id.
        10052 | 10054 | 10060 | 10111 | 10166 | 10174 | 10175 | 10177 | 10179 | 10199 | 10200 | 10201 => {
            Disposition::Stop
        }
        // Among the rest: 10008 and 10009 no leader, 10071 and 10164 another last sequence, 10163 a sequence that is not
        // known yet, 10167 too many requests, 10176 an incomplete batch, 10210 too many open batches.
        _ => Disposition::Retry,
    }
}

/// The exit code of the first bus error in a chain, for [`service::main`].
pub fn exit_code(error: &anyhow::Error) -> Option<Code> {
    error.chain().find_map(|cause| cause.downcast_ref::<Error>()).map(Error::exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_the_server_has_its_class() {
        let check = |expected: Disposition, codes: &[u32]| {
            for &err_code in codes {
                let error = Error::refusal("a commit".to_owned(), 400, err_code, "words".to_owned());
                assert_eq!(error.disposition(), expected, "{err_code}");
                assert_eq!(matches!(error, Error::Full { .. }), expected == Disposition::RetrySlowly, "{err_code}");
            }
        };
        // Not stored, may go again; also what asks to read the position first.
        check(Disposition::Retry, &[10176, 10210, 10167, 10163, 10008, 10009, 10071, 10164]);
        check(Disposition::RetrySlowly, &[10077, 10023, 10047]);
        check(Disposition::Stop, &[10111, 10166, 10174, 10175, 10177, 10179, 10199, 10200, 10201, 10060]);
        // Unknown is no success and no reason to stop: the position tells.
        check(Disposition::Retry, &[0, 1, 10999, u32::MAX]);
    }

    #[test]
    fn a_full_store_is_said_with_what_to_do() {
        let error = Error::refusal("a commit to MARKET".to_owned(), 503, 10077, "maximum bytes exceeded".to_owned());
        let text = error.to_string();
        assert!(text.starts_with("storage is full: the NATS server refused a commit to MARKET"), "{text}");
        assert!(text.contains("maximum bytes exceeded") && text.contains("topology apply"), "{text}");
    }
}
