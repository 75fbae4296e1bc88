//! Errors of the NATS side, classified by the possible reaction of a caller.

use service::Code;

/// An error of the bus. Its message says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No server listens at the address. Waiting may help.
    #[error("no NATS server answers at {url} ({detail}): start it, or give another address with --nats-url")]
    NoServer {
        /// The address tried.
        url: String,
        /// The network error.
        detail: String,
    },
    /// The NATS flags contradict each other, or name a file that cannot be used.
    #[error("{detail}")]
    Settings {
        /// The mistake, and what to change.
        detail: String,
    },
    /// The server refuses the user or its credentials.
    #[error("the NATS server at {url} refuses {who}: {advice}")]
    Authentication {
        /// The address tried.
        url: String,
        /// The user or credentials that were refused.
        who: String,
        /// Advice.
        advice: String,
    },
    /// No TLS connection: a certificate is not trusted, or one side does not use TLS.
    #[error("no TLS connection to the NATS server at {url}: {detail}")]
    Tls {
        /// The address tried.
        url: String,
        /// The reason, and what to do.
        detail: String,
    },
    /// The user lacks a permission that this command needs.
    #[error("the NATS server denies user {user:?}: {detail}; use another --nats-user, or allow it in deploy/nats/")]
    Permission {
        /// The user.
        user: String,
        /// The server's message.
        detail: String,
    },
    /// The server's version lacks atomic batches.
    #[error("the NATS server at {url} is version {found}: {floor} or newer is needed; scripts/setup installs one")]
    ServerTooOld {
        /// The address.
        url: String,
        /// The server's version.
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
    /// The user's account has no streams: it belongs to another account, or JetStream is not up yet.
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
    /// A stream was restored while it was being read, so data that was read may no longer exist.
    #[error(
        "{input} was restored from a backup meanwhile: start this service again; it continues where the backup ends"
    )]
    Restored {
        /// The stream.
        input: String,
    },
    /// The server cannot reserve the storage that the streams may grow to.
    #[error(
        "the NATS server has no room for {bytes} bytes more ({description}): nothing was changed; raise max_file_store in \
         nats.conf, or choose lower limits"
    )]
    NoRoom {
        /// The bytes.
        bytes: u64,
        /// The server's message.
        description: String,
    },
    /// The server has too few peers for the replicas.
    #[error(
        "the NATS server cannot keep {replicas} copies ({description}): nothing was changed; start three servers with \
         deploy/nats/cluster.conf, or pass --replicas 1"
    )]
    NoCluster {
        /// The number of replicas.
        replicas: u32,
        /// The server's message.
        description: String,
    },
    /// A stream differs from the definition of this version.
    #[error("stream {stream} differs from what is needed ({difference}): see `topology plan`")]
    StreamDiffers {
        /// Its name.
        stream: String,
        /// The first difference.
        difference: String,
    },
    /// The input is not the log from which the state was computed.
    #[error(
        "{input} is not the log that the state of {output} was made from ({detail}): restore {input}, or run `topology rebuild {}`",
        .output.to_lowercase()
    )]
    WrongLog {
        /// The input stream.
        input: String,
        /// The output stream, which holds the state.
        output: String,
        /// The contradiction.
        detail: String,
    },
    /// The results so far were computed with other settings.
    #[error(
        "{output} was computed with \"{made}\", not with \"{asked}\": use the settings that it was computed with, or run `topology rebuild {}`", .output.to_lowercase()
    )]
    OtherSettings {
        /// The output stream.
        output: String,
        /// The settings of the stored results.
        made: String,
        /// The settings of this process.
        asked: String,
    },
    /// Two consecutive steps have different event-time settings.
    #[error(
        "the {service} runs with \"{made}\", but this service with \"{asked}\" (milliseconds): give both the same --disorder and --lateness"
    )]
    OutOfStep {
        /// The upstream step.
        service: String,
        /// The settings of the upstream step.
        made: String,
        /// The settings of this step.
        asked: String,
    },
    /// Input that this partition has not read was deleted.
    #[error(
        "partition {partition} has read {input} up to sequence {frontier}, but the stream now begins at {first}: the \
         messages between are lost; restore them from a backup, or continue without them with --accept-loss"
    )]
    Hole {
        /// The input stream.
        input: String,
        /// The partition.
        partition: u32,
        /// The sequence up to which nothing is missing.
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
        /// The contradiction.
        detail: String,
    },
    /// Others use every consumer that this user may have. Waiting may help.
    #[error(
        "all consumers of {stream} that user {user:?} may have are in use: wait, or delete one as admin; the server deletes them \
         at most 5 minutes after their programs"
    )]
    NoConsumer {
        /// The user.
        user: String,
        /// The stream.
        stream: String,
    },
    /// The server refused a request: a bug here, or a limit of the server.
    #[error("the NATS server refused {what}: {description} ({code}/{err_code})")]
    Api {
        /// The request.
        what: String,
        /// HTTP-like status class.
        code: u16,
        /// JetStream error code.
        err_code: u32,
        /// The server's message.
        description: String,
    },
    /// The storage is full. Nothing was stored; waiting helps once an operator frees space.
    #[error(
        "storage is full: the NATS server refused {what} ({description}, {code}/{err_code}); raise the stream's limit \
         with `topology apply`, or give the server more storage; pending messages are kept and stored later"
    )]
    Full {
        /// The request.
        what: String,
        /// HTTP-like status class.
        code: u16,
        /// JetStream error code.
        err_code: u32,
        /// The server's message.
        description: String,
    },
    /// A message is larger than the server accepts. It was not sent.
    #[error(
        "a message on {subject} has {bytes} bytes with its headers, and the NATS server takes {limit}: raise max_payload \
         in nats.conf"
    )]
    TooLarge {
        /// Its subject.
        subject: String,
        /// Its bytes, headers included.
        bytes: usize,
        /// The server's limit.
        limit: usize,
    },
    /// The server is connected but does not answer. The request may have been executed.
    #[error(
        "the NATS server does not answer {what}: if that continues, read its log; after a full disk it must be restarted"
    )]
    Silent {
        /// The request.
        what: String,
    },
    /// The connection was lost, or no subscriber listens. The request may have been executed.
    #[error("no answer from the NATS server to {what}")]
    Unanswered {
        /// The request.
        what: String,
    },
    /// An answer or a stored record that cannot be decoded.
    #[error("cannot read {what}: {detail}")]
    Unreadable {
        /// The record.
        what: String,
        /// Why it cannot be decoded.
        detail: String,
    },
}

/// JetStream error code: a message of a batch did not arrive, or could not be stored.
const INCOMPLETE: u32 = 10176;

/// The possible reactions of a caller to an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Retry: an outage.
    Retry,
    /// Retry slowly and report it: the storage is full.
    RetrySlowly,
    /// Stop: an operator must act.
    Stop,
}

impl Error {
    /// The error for a refusal by the server.
    pub fn refusal(what: String, code: u16, err_code: u32, mut description: String) -> Self {
        if err_code == INCOMPLETE {
            // The server reports the same code when it could not write the batch to disk.
            description.push_str("; if that continues, its disk may be full: read its log");
        }
        match disposition_of(err_code) {
            Disposition::RetrySlowly => Self::Full { what, code, err_code, description },
            Disposition::Retry | Disposition::Stop => Self::Api { what, code, err_code, description },
        }
    }

    /// The possible reaction of a caller.
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

    /// Whether the expected last sequence of a subject was wrong: another writer has written it since, or an earlier
    /// attempt of this process is in flight.
    pub fn is_overtaken(&self) -> bool {
        matches!(self, Self::Api { err_code: 10071 | 10164, .. })
    }

    /// Whether the error stops one partition only, while the others go on.
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

/// Classifies a JetStream error code. `RetrySlowly` and `Stop` mean that nothing was stored. An unknown code counts as
/// an outage, never as a success: the stream itself tells what was stored.
pub fn disposition_of(err_code: u32) -> Disposition {
    match err_code {
        // Full: insufficient resources, no storage left, stream limits exceeded, or disk full.
        10023 | 10047 | 10077 => Disposition::RetrySlowly,
        // Invalid requests: configuration, message larger than the stream accepts, another stream expected, two
        // roll-ups of a subject, TTL without permission; batches not allowed, not numbered, with an expected message
        // id, with an invalid id, too many messages, an invalid commit, a message id.
        10052 | 10054 | 10060 | 10111 | 10166 | 10174 | 10175 | 10177 | 10179 | 10199 | 10200 | 10201 => {
            Disposition::Stop
        }
        // The rest includes 10008 and 10009 no leader, 10071 and 10164 another last sequence, 10163 a sequence that is
        // not known yet, 10167 too many requests, 10176 an incomplete batch, 10210 too many open batches.
        _ => Disposition::Retry,
    }
}

/// The exit code of the first bus error in an error chain, for [`service::main`].
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
        // Not stored, may be sent again; includes the codes after which the position is read first.
        check(Disposition::Retry, &[10176, 10210, 10167, 10163, 10008, 10009, 10071, 10164]);
        check(Disposition::RetrySlowly, &[10077, 10023, 10047]);
        check(Disposition::Stop, &[10111, 10166, 10174, 10175, 10177, 10179, 10199, 10200, 10201, 10060]);
        // An unknown code is neither a success nor a reason to stop: the position tells.
        check(Disposition::Retry, &[0, 1, 10999, u32::MAX]);
    }

    #[test]
    fn a_full_store_is_reported_with_advice() {
        let error = Error::refusal("a commit to MARKET".to_owned(), 503, 10077, "maximum bytes exceeded".to_owned());
        let text = error.to_string();
        assert!(text.starts_with("storage is full: the NATS server refused a commit to MARKET"), "{text}");
        assert!(text.contains("maximum bytes exceeded") && text.contains("topology apply"), "{text}");
    }
}
