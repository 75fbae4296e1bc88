//! What can go wrong on the NATS side, sorted by what the caller can do.

use service::Code;

/// An error of the bus. Messages say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens at the address. Waiting may help.
    #[error("no NATS server answers at {url} ({detail}): start it, or name another one with --nats-url")]
    NoServer {
        /// The address tried.
        url: String,
        /// What the network said.
        detail: String,
    },
    /// The server knows the user or password not.
    #[error(
        "the NATS server at {url} refuses user {user:?}: set NATS_PASSWORD or {variable} to the password that the \
         server was started with (scripts/setup writes it to .env)"
    )]
    Authentication {
        /// The address tried.
        url: String,
        /// The user tried.
        user: String,
        /// The environment variable that would be read.
        variable: String,
    },
    /// The user may not do what this command needs.
    #[error("the NATS server denies user {user:?}: {detail}; use another --nats-user or mend nats.conf")]
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
    #[error("JetStream does not answer at {url}: start nats-server with the nats.conf of this project")]
    NoJetStream {
        /// The address.
        url: String,
    },
    /// A stream has not been created yet. Waiting may help.
    #[error("stream {stream} does not exist: run `topology apply`")]
    StreamMissing {
        /// Its name.
        stream: String,
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
        "{input} is not the log that the state of {output} was made from ({detail}): restore {input}, or delete {output} and the streams made from it, run `topology apply` and replay"
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
        "{output} was made with \"{made}\", not with \"{asked}\": give the settings that it was made with, or rebuild it"
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
        "the checkpoint of {output} partition {partition} is torn or lost ({detail}): delete {output} and the streams made from it, run `topology apply` and replay"
    )]
    CheckpointLost {
        /// The output stream.
        output: String,
        /// The partition.
        partition: u32,
        /// What contradicts.
        detail: String,
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
    /// No answer in time, or the connection went. It may or may not have happened.
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
    /// What a caller can do.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NoServer { .. } | Self::NoJetStream { .. } | Self::StreamMissing { .. } | Self::Unanswered { .. } => {
                Disposition::Retry
            }
            Self::Api { err_code, .. } => disposition_of(*err_code),
            Self::Authentication { .. }
            | Self::Permission { .. }
            | Self::ServerTooOld { .. }
            | Self::StreamDiffers { .. }
            | Self::WrongLog { .. }
            | Self::OtherSettings { .. }
            | Self::OutOfStep { .. }
            | Self::Hole { .. }
            | Self::CheckpointLost { .. }
            | Self::Unreadable { .. } => Disposition::Stop,
        }
    }

    /// Whether only one partition must stop for it, while the others go on.
    pub(crate) fn concerns_partition(&self) -> bool {
        matches!(self, Self::Hole { .. } | Self::CheckpointLost { .. } | Self::Unreadable { .. })
    }

    fn exit_code(&self) -> Code {
        match self {
            Self::Authentication { .. }
            | Self::Permission { .. }
            | Self::ServerTooOld { .. }
            | Self::StreamDiffers { .. }
            | Self::WrongLog { .. }
            | Self::OtherSettings { .. }
            | Self::OutOfStep { .. } => Code::Server,
            Self::NoServer { .. }
            | Self::NoJetStream { .. }
            | Self::StreamMissing { .. }
            | Self::Hole { .. }
            | Self::CheckpointLost { .. }
            | Self::Api { .. }
            | Self::Unanswered { .. }
            | Self::Unreadable { .. } => Code::Failed,
        }
    }
}

/// The class of a JetStream error code. The first group was not stored and may be sent again; an unknown code is never
/// a success and is treated as an outage: what really happened is read from the stream.
pub fn disposition_of(err_code: u32) -> Disposition {
    match err_code {
        // Maximum bytes or messages exceeded, insufficient resources.
        10047 | 10077 | 10023 => Disposition::RetrySlowly,
        // Requests that are wrong in themselves.
        10111 | 10166 | 10174 | 10175 | 10177 | 10179 | 10199 | 10200 | 10201 | 10060 | 10052 | 10054 => {
            Disposition::Stop
        }
        _ => Disposition::Retry,
    }
}

/// The exit code of the first bus error in a chain, for [`service::main`].
pub fn exit_code(error: &anyhow::Error) -> Option<Code> {
    error.chain().find_map(|cause| cause.downcast_ref::<Error>()).map(Error::exit_code)
}
