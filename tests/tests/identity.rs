//! Authentication in each way that deploy/nats ships; a refused client gets one clear line.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use pipeline_tests::programs::{Running, eventually, fail, program, program_at, succeed};
use pipeline_tests::server::Server;
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::variant::{Kind, Variant, copy_of_shipped, make_credentials, run_openssl};

/// Candles of each run: two hours and ten minutes.
const MINUTES: u32 = 130;

/// Checks that a command ends with this code and exactly one line that contains these parts; returns its output
/// otherwise.
fn is_said(command: &mut Command, code: i32, parts: &[&str]) -> Result<(), String> {
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_one_line = errors.trim_end().lines().count() == 1;
    let is_it = output.status.code() == Some(code) && is_one_line && parts.iter().all(|part| errors.contains(part));
    if is_it { Ok(()) } else { Err(format!("{command:?}: {:?} instead of {code}: {errors}", output.status)) }
}

fn check(command: &mut Command, code: i32, parts: &[&str]) {
    is_said(command, code, parts).unwrap();
}

/// Checks a reader's view of the pipeline.
fn check_table(table: &str) {
    // The end of the recording closes the last minute.
    assert_eq!(table.lines().count(), 1 + MINUTES as usize, "{table}");
}

/// The pipeline runs over TLS; a client that does not trust the server's CA gets an error that says so.
#[test]
fn the_pipeline_runs_over_tls_and_explains_missing_trust() {
    let variant = Variant::start(Kind::Tls);
    check_table(&variant.run_pipeline(MINUTES));
    let untrusted = "not signed by a trusted CA";
    check(variant.stranger("topology").arg("plan"), 3, &[untrusted, "--tls-ca"]);
    let foreign = tempfile::tempdir().unwrap();
    run_openssl("tls.conf", foreign.path());
    let ca = foreign.path().join("ca.pem");
    check(variant.stranger("topology").arg("plan").arg("--tls-ca").arg(&ca), 3, &[untrusted]);
    // A service does not wait when waiting cannot help.
    let mut service = Running::start(variant.stranger("stream-processor").arg("run"));
    assert_eq!(service.wait(), Some(3));
    // The certificate is only for localhost and 127.0.0.1, and passwords are checked as without TLS.
    let mut wrong = variant.program("topology", "admin");
    check(wrong.arg("plan").env("NATS_PASSWORD", "wrong"), 3, &["refuses user \"admin\"", "NATS_PASSWORD"]);
}

/// The pipeline runs with certificates on both sides; a client without one is refused.
#[test]
fn the_pipeline_runs_with_mtls_and_refuses_clients_without() {
    let variant = Variant::start(Kind::MutualTls);
    check_table(&variant.run_pipeline(MINUTES));
    let mut without = variant.stranger("topology");
    without.arg("plan").env("NATS_TLS_CA", variant.path("ca.pem"));
    check(&mut without, 3, &["asks for a client certificate", "--tls-cert"]);
    let foreign = tempfile::tempdir().unwrap();
    run_openssl("tls.conf", foreign.path());
    run_openssl("mtls.conf", foreign.path());
    without.env("NATS_TLS_CERT", foreign.path().join("producer.pem"));
    without.env("NATS_TLS_KEY", foreign.path().join("producer.key"));
    check(&mut without, 3, &["refuses the client certificate"]);
    // The viewer has no password, but also needs a certificate.
    let mut viewer = variant.stranger("reporter");
    viewer.arg("watch").env("NATS_TLS_CA", variant.path("ca.pem"));
    check(&mut viewer, 3, &["asks for a client certificate"]);
}

#[test]
fn another_account_sees_nothing_of_the_pipeline() {
    let variant = Variant::start(Kind::Accounts);
    check_table(&variant.run_pipeline(MINUTES));
    let account = "use a user of the pipeline";
    check(variant.as_other("topology").arg("show"), 3, &["user \"other\" has no JetStream", account]);
    check(variant.as_other("topology").arg("apply"), 3, &["user \"other\" has no JetStream", account]);
    check(variant.as_other("aggregator").args(["show", "hourly"]), 3, &[account]);
}

/// The pipeline runs with credentials files; foreign and expired ones are refused.
#[test]
fn the_pipeline_runs_with_credentials_and_refuses_others() {
    let variant = Variant::start(Kind::Credentials);
    check_table(&variant.run_pipeline(MINUTES));
    for secret in [variant.credentials("admin"), variant.credentials("admin").with_file_name("operator.nk")] {
        assert_eq!(std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600, "{}", secret.display());
    }
    let without_user = ["refuses a client without a user", "--creds"];
    check(variant.stranger("reporter").arg("watch"), 3, &without_user);
    check(variant.stranger("topology").arg("plan"), 3, &["refuses user \"admin\""]);
    let foreign = tempfile::tempdir().unwrap();
    copy_of_shipped(foreign.path());
    make_credentials(foreign.path(), &[]);
    let mut plan = variant.stranger("topology");
    let refused = ["refuses the credentials in ", "deploy/nats/credentials.conf"];
    check(plan.arg("plan").env("NATS_CREDS", foreign.path().join("deploy/nats/credentials/admin.creds")), 3, &refused);
    // New credentials with the same keys, which the same server accepts; these expire at once.
    let before = std::fs::read(variant.credentials("admin")).unwrap();
    make_credentials(variant.pipeline.dir.path(), &["--days", "0"]);
    assert_ne!(before, std::fs::read(variant.credentials("admin")).unwrap());
    plan.env("NATS_CREDS", variant.credentials("admin"));
    // They may still be accepted during the second in which they expire, and then expire in the middle of a command.
    eventually("they have expired", || is_said(&mut plan, 3, &refused).is_ok());
    make_credentials(variant.pipeline.dir.path(), &["--days", "1"]);
    succeed(&mut plan);
    // A user's permissions are part of its credentials.
    check(
        variant.program("topology", "producer").arg("apply").env("CANDLEWIRE_LOG", "error"),
        3,
        &["denies user \"producer\""],
    );
}

#[test]
fn contradictory_settings_are_refused_before_connecting() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    run_openssl("tls.conf", dir.path());
    std::fs::write(path("empty"), "\n").unwrap();
    std::fs::write(path("password"), "cw-secret\n").unwrap();
    let [empty, password, absent, ca, key, certificate] =
        ["empty", "password", "absent", "ca.pem", "nats.key", "nats.pem"].map(path);
    let cases: [(&[&str], &[&str]); 11] = [
        (
            &["--nats-password", "x", "--nats-password-file", &password],
            &["--nats-password", "--nats-password-file", "keep one"],
        ),
        (&["--creds", &absent, "--nats-password", "x"], &["--creds", "--nats-password", "keep one"]),
        (&["--creds", &absent], &["credentials file", &absent]),
        (&["--creds", &password], &["credentials file", &password]),
        (&["--nats-password-file", &empty], &["is empty"]),
        (&["--tls-cert", &certificate], &["--tls-cert", "without --tls-key"]),
        (&["--tls-cert", &ca, "--tls-key", &key], &[&ca, &key]),
        (&["--tls-ca", &absent], &["certificate file", &absent]),
        (&["--tls-ca", &password], &["holds no certificate"]),
        (&["--nats-url", "nats://admin:cw-secret@127.0.0.1:1"], &["--nats-user", "--creds"]),
        (&["--nats-url", "http://127.0.0.1:1"], &["NATS_URL", "nats://"]),
    ];
    for (flags, parts) in cases {
        let mut command = program("topology", dir.path());
        // No server listens there: an attempt to connect would end with another code.
        command.env("NATS_URL", "nats://127.0.0.1:1").arg("plan").args(flags);
        check(&mut command, 2, parts);
        let errors = String::from_utf8(command.output().unwrap().stderr).unwrap();
        assert!(!errors.contains("cw-secret"), "{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_stand_in_a_file_and_a_wrong_one_is_one_line() {
    let pipeline = TestPipeline::new().await;
    let file = pipeline.dir.path().join("password");
    std::fs::write(&file, "cw-test-admin\n").unwrap();
    let mut plan = pipeline.program("topology");
    plan.args(["plan", "--nats-password-file"]).arg(&file).env_remove("CANDLEWIRE_PASSWORD_ADMIN");
    succeed(&mut plan);
    std::fs::write(&file, "wrong\n").unwrap();
    check(&mut plan, 3, &["refuses user \"admin\""]);
}

#[test]
fn a_client_that_requires_tls_names_a_server_without_it() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    run_openssl("tls.conf", dir.path());
    let mut plan = program_at("topology", dir.path(), &server);
    plan.arg("plan").arg("--tls-ca").arg(dir.path().join("ca.pem"));
    let (code, error) = fail(&mut plan);
    assert!(code == 3 && error.contains("does not use TLS"), "{code} {error}");
}
