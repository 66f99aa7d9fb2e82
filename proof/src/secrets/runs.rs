//! Processors at TRACE, with canaries for credentials, through success and failure.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lakehouse::faults::POINT;

use super::Watch;
use super::echo::Echo;
use super::search::{Searched, canary};
use crate::servers::{ACCESS_KEY, SECRET_KEY, until};
use crate::stack::{Codec, Found, Scene, Sent, Spawn, must, purchase};

/// How long a processor that fails is watched.
const WATCHED: Duration = Duration::from_secs(6);
/// How long something that must be logged may take.
const SAID_MAX: Duration = Duration::from_secs(30);
const PAGES: [&str; 6] = ["/", "/healthz", "/readyz", "/metrics", "/status.json", "/job.json"];

/// A processor that tells all it can, with a canary wherever a credential may stand.
fn telling(scene: &Scene<'_>, port: u16) -> Result<Spawn> {
    let password = canary("a SASL password")?;
    Ok(scene
        .spawn()
        .flag("--status-address", format!("127.0.0.1:{port}"))
        .flag("--kafka-properties", format!("sasl.password={password},debug=all"))
        .env("RUST_LOG", "trace"))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A topic with records, sound and broken.
fn scene<'a>(watch: &'a Watch, name: &str) -> Result<Scene<'a>> {
    let mut scene = watch.stage.scene(name, 1)?;
    let broken = Sent::to(0, format!(r#"{{"note":"{name}""#).into_bytes());
    scene
        .send(Codec::None, (0..200).map(|number| Sent::to(0, purchase(number))).chain([broken]))?;
    Ok(scene)
}

/// Fetches every page that is served.
fn pages(watch: &Watch, port: u16, searched: &mut Searched) -> u64 {
    let mut served = 0;
    for page in PAGES {
        let ask = async {
            let answer = reqwest::get(format!("http://127.0.0.1:{port}{page}")).await?;
            answer.text().await
        };
        if let Ok(text) = watch.stage.runtime.block_on(ask) {
            searched.text(page, &text);
            served += 1;
        }
    }
    served
}

pub(super) fn success(watch: &Watch) -> Result<Found> {
    let mut scene = scene(watch, "secrets_success")?;
    let (port, mut searched) = (free_port()?, Searched::default());
    let mut processor = scene.start(&telling(&scene, port)?)?;
    scene.settle(&mut [&mut processor])?;
    let served = pages(watch, port, &mut searched);
    ensure!(served == PAGES.len() as u64, "only {served} pages are served");
    processor.stop()?;
    let log = processor.log();
    ensure!(log.contains(r#""level":"TRACE""#), "the log is not at TRACE");
    searched.text("log", &log);
    searched.found()
}

/// Starts it, waits until its log says `words` or it ends, looks at its pages, and at all that it said.
fn failing(
    watch: &Watch,
    scene: &mut Scene<'_>,
    spawn: &Spawn,
    port: u16,
    words: &str,
    searched: &mut Searched,
) -> Result<()> {
    let mut processor = scene.start(spawn)?;
    let mut last = String::new();
    let told = until("it fails", SAID_MAX, || {
        pages(watch, port, searched);
        last = processor.log();
        Ok(last.contains(words))
    });
    // Some more of it: retries, and the page that says what is waited for.
    let _ = until("the watch ends", WATCHED, || {
        pages(watch, port, searched);
        Ok(processor.ended()?.is_some())
    });
    searched.text("log", &processor.log());
    told.with_context(|| format!("`{words}` was not said: {}", last.lines().last().unwrap_or("")))?;
    Ok(())
}

pub(super) fn wrong_keys(watch: &Watch) -> Result<Found> {
    let mut searched = Searched::default();
    let (access, secret) = (canary("a wrong access key")?, canary("a wrong secret key")?);
    for (access, secret) in [(ACCESS_KEY, secret), (access, SECRET_KEY), (access, secret)] {
        let mut scene = scene(watch, "secrets_wrong_keys")?;
        let port = free_port()?;
        let spawn =
            telling(&scene, port)?.env("S3_ACCESS_KEY", access).env("S3_SECRET_KEY", secret);
        failing(watch, &mut scene, &spawn, port, "\"ERROR\"", &mut searched)?;
    }
    searched.found()
}

pub(super) fn store_echoes(watch: &Watch) -> Result<Found> {
    let mut searched = Searched::default();
    for status in ["403 Forbidden", "500 Internal Server Error", "400 Bad Request"] {
        let (echo, mut scene) = (Echo::start(status)?, scene(watch, "secrets_store_echoes")?);
        let port = free_port()?;
        let spawn = telling(&scene, port)?.flag("--s3-endpoint", echo.url());
        let said = &status[..3];
        failing(watch, &mut scene, &spawn, port, said, &mut searched)?;
        must(echo.answered() > 0, || "nothing was asked of the store".to_owned())?;
    }
    searched.found()
}

pub(super) fn catalog_echoes(watch: &Watch) -> Result<Found> {
    let mut searched = Searched::default();
    for status in ["401 Unauthorized", "500 Internal Server Error", "400 Bad Request"] {
        let (echo, mut scene) = (Echo::start(status)?, scene(watch, "secrets_catalog_echoes")?);
        let port = free_port()?;
        let spawn = telling(&scene, port)?.flag("--catalog-uri", echo.url());
        failing(watch, &mut scene, &spawn, port, &status[..3], &mut searched)?;
        must(echo.answered() > 0, || "nothing was asked of the catalog".to_owned())?;
    }
    searched.found()
}

pub(super) fn sasl(watch: &Watch) -> Result<Found> {
    let mut searched = Searched::default();
    let (user, password) = (canary("a SASL user")?, canary("a SASL password")?);
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let mut scene = scene(watch, "secrets_sasl")?;
        let port = free_port()?;
        let properties = format!(
            "security.protocol=sasl_plaintext,sasl.mechanism={mechanism},sasl.username={user},\
             sasl.password={password},debug=all"
        );
        let spawn = telling(&scene, port)?.flag("--kafka-properties", properties);
        failing(watch, &mut scene, &spawn, port, "SASL", &mut searched)?;
    }
    searched.found()
}

/// Settings with a credential in an address, or beside a wrong one: refused without being repeated.
pub(super) fn refused(watch: &Watch) -> Result<Found> {
    let mut searched = Searched::default();
    let mut scene = scene(watch, "secrets_refused")?;
    let (address, pem) = (canary("a password in an address")?, canary("a key's password")?);
    let sasl = canary("a SASL password")?;
    let catalog = format!("http://user:{address}@127.0.0.1:1");
    let query = format!("http://127.0.0.1:1/?token={address}");
    let cases = [
        ("--catalog-uri", catalog.clone()),
        ("--catalog-uri", query),
        ("--catalog-uri", format!("htp://user:{address}@host")),
        ("--s3-endpoint", format!("htp://user:{address}@host")),
        ("--s3-endpoint", catalog),
        ("--warehouse", format!("s4://user:{address}@host/x")),
        ("--kafka-properties", format!("ssl.key.password={pem},ssl.key.pem={pem}")),
        ("--kafka-properties", format!("sasl.password:{sasl}")),
        ("--kafka-properties", format!("sasl.mechanism=NONSENSE,sasl.password={sasl}")),
        ("--kafka-properties", format!("sasl.password={sasl},security.protocol=nonsense")),
        ("--kafka-properties", format!("sasl.oauthbearer.client.secret={sasl}")),
        ("--kafka-properties", format!("group.id={sasl}")),
    ];
    for (flag, value) in cases {
        let spawn = telling(&scene, 0)?.flag("--status-address", "off").flag(flag, value);
        let mut processor = scene.start(&spawn)?;
        // What is not refused at once fails by itself, or is watched for a while.
        let _ = until("it ends", WATCHED, || Ok(processor.ended()?.is_some()));
        let log = processor.log();
        ensure!(!log.is_empty(), "{flag}: it said nothing");
        searched.text(flag, &log);
    }
    searched.found()
}

/// A panic shows a message and where it happened; neither is a setting.
pub(super) fn panics(watch: &Watch) -> Result<Found> {
    let mut searched = Searched::default();
    for point in ["reader.polled", "worker.decoded", "assembler.sealed", "commit.decided"] {
        let mut scene = scene(watch, "secrets_panics")?;
        let port = free_port()?;
        let spawn = telling(&scene, port)?.env(POINT, format!("{point}:1:panic"));
        let spawn = spawn.env("RUST_BACKTRACE", "full");
        failing(watch, &mut scene, &spawn, port, "panicked", &mut searched)?;
    }
    searched.found()
}

/// The commands that touch no server.
pub(super) fn commands(watch: &Watch) -> Result<Found> {
    let mut searched = Searched::default();
    let scene = scene(watch, "secrets_commands")?;
    let job = scene.folder().join("job.sql").display().to_string();
    for words in
        [&["--help"][..], &["-h"], &["--version"], &["check"], &["healthcheck"], &["--nonsense"]]
    {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("processor").args(words).stdin(Stdio::null());
        command.env("JOB_FILE", &job).env("RUST_LOG", "trace");
        command.env("S3_ACCESS_KEY", canary("a wrong access key")?);
        command.env("S3_SECRET_KEY", canary("a wrong secret key")?);
        let password = canary("a SASL password")?;
        command.env("KAFKA_PROPERTIES", format!("sasl.password={password}"));
        let output = command.output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(!said.is_empty(), "{words:?} says nothing");
        searched.text(&words.join(" "), &said);
    }
    searched.found()
}
