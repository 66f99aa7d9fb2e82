//! The proxy in front of small servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{Client, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::message::Message;
use super::*;

const TABLE: &str = "/v1/namespaces/n/tables/t";

/// A server that answers every request with its number and body, chunked where it is asked to.
async fn server() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                while let Ok(Some(mut request)) = Message::read_head(&mut client).await {
                    let framing = request.request_framing();
                    request.read_body(&mut client, framing).await.unwrap();
                    let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                    let body = format!("{number} {}", String::from_utf8_lossy(&request.body));
                    let answer = if request.header("x-chunked").is_some() {
                        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                        format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes()
                    } else {
                        Message::answer(200, "text/plain", &body).bytes()
                    };
                    client.get_mut().write_all(&answer).await.unwrap();
                }
            });
        }
    });
    (address, count)
}

struct Rig {
    proxy: HttpProxy,
    client: Client,
    applied: Arc<AtomicU64>,
}

async fn rig() -> Rig {
    let (target, applied) = server().await;
    let proxy = HttpProxy::start(&target, Flavour::Catalog, 1).await.unwrap();
    let client = Client::builder().timeout(Duration::from_millis(400)).build().unwrap();
    Rig { proxy, client, applied }
}

impl Rig {
    async fn post(&self) -> reqwest::Result<Response> {
        self.client.post(self.proxy.uri() + TABLE).body("hello").send().await
    }

    /// One commit that meets `fault`: what the client gets, and how often the server has applied it.
    async fn met(&self, fault: Fault) -> (Result<(u16, String), ()>, u64) {
        let name = fault.to_string();
        let before = self.applied.load(Ordering::SeqCst);
        self.proxy.set(vec![Rule::every(Which::Commit, fault).times(1)]);
        let got = match self.post().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                answer.text().await.map(|text| (status, text)).map_err(drop)
            }
            Err(_) => Err(()),
        };
        assert!(self.proxy.seen().faults.contains_key(&name), "{name} was not counted");
        (got, self.applied.load(Ordering::SeqCst) - before)
    }
}

fn runs(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn what_no_rule_names_is_passed_on() {
    runs(async {
        let rig = rig().await;
        rig.proxy.set(vec![Rule::every(Which::Load, Fault::CutBefore)]);
        for chunked in [false, true] {
            let mut request = rig.client.post(rig.proxy.uri() + TABLE).body("hello");
            if chunked {
                request = request.header("x-chunked", "1");
            }
            let text = request.send().await.unwrap().text().await.unwrap();
            assert!(text.ends_with(" hello"), "{text}");
        }
        let seen = rig.proxy.seen();
        assert_eq!((seen.requests, seen.total()), (2, 0));
    });
}

#[test]
fn each_fault_is_applied_and_answered_as_it_says() {
    runs(async {
        let rig = rig().await;
        let text = |status, text: &str| Ok((status, text.to_owned()));
        let status = |got: Result<(u16, String), ()>| got.map(|(status, _)| status);
        let (got, applied) = rig.met(Fault::Refuse(503, "Busy")).await;
        assert_eq!((status(got), applied), (Ok(503), 0));
        let (got, applied) = rig.met(Fault::Hide(500, "Broken")).await;
        assert_eq!((status(got), applied), (Ok(500), 1));
        assert_eq!(rig.met(Fault::Twice).await, (text(200, "3 hello"), 2));
        assert_eq!(rig.met(Fault::Garble("{}")).await, (text(200, "{}"), 1));
        assert_eq!(rig.met(Fault::Pretend).await, (text(200, ""), 0));
        let slow = Fault::Drip(Duration::from_millis(100));
        assert_eq!(rig.met(slow).await, (text(200, "5 hello"), 1));
        for (fault, times) in [
            (Fault::CutBefore, 0),
            (Fault::CutAfter, 1),
            (Fault::Lose, 1),
            (Fault::HangBefore, 0),
            (Fault::HangAfter, 1),
            (Fault::Truncate, 1),
            (Fault::Stall, 1),
        ] {
            assert_eq!(rig.met(fault.clone()).await, (Err(()), times), "{fault}");
        }
        let seen = rig.proxy.seen();
        assert_eq!((seen.landed, seen.missed, seen.held), (8, 4, 0), "{seen:?}");
    });
}

#[test]
fn a_late_request_is_applied_after_the_next_read() {
    runs(async {
        let rig = rig().await;
        assert_eq!(rig.met(Fault::Late(Until::Read)).await, (Err(()), 0));
        assert_eq!(rig.proxy.seen().held, 1);
        let read = rig.client.get(rig.proxy.uri() + TABLE).send().await.unwrap();
        assert_eq!(read.text().await.unwrap(), "1 ");
        for _ in 0..500 {
            if rig.proxy.seen().held == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let seen = rig.proxy.seen();
        assert_eq!((seen.held, seen.landed), (0, 1), "{seen:?}");
    });
}

#[test]
fn a_proxy_that_is_down_refuses_and_comes_back() {
    runs(async {
        let rig = rig().await;
        rig.post().await.unwrap();
        rig.proxy.down();
        assert!(rig.post().await.is_err());
        rig.proxy.up();
        let mut again = rig.post().await;
        for _ in 0..200 {
            if again.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            again = rig.post().await;
        }
        assert_eq!(again.unwrap().status(), 200);
    });
}

#[test]
fn a_share_of_the_requests_meets_the_fault_and_the_seed_decides_which() {
    runs(async {
        let mut patterns = Vec::new();
        for _ in 0..2 {
            let rig = rig().await;
            rig.proxy.set(vec![Rule::some(Which::Any, 0.5, vec![Fault::Refuse(503, "Busy")])]);
            let mut pattern = Vec::new();
            for _ in 0..40 {
                pattern.push(rig.post().await.unwrap().status().as_u16());
            }
            assert!(pattern.contains(&200) && pattern.contains(&503), "{pattern:?}");
            patterns.push(pattern);
        }
        assert_eq!(patterns[0], patterns[1]);
    });
}

#[test]
fn snapshots_are_redated_and_the_length_follows() {
    runs(async {
        let rig = rig().await;
        rig.proxy.set(vec![Rule::every(Which::Commit, Fault::Redate(120_000))]);
        let body = r#"{"updates":[{"action":"add-snapshot","snapshot":{"timestamp-ms":9}}]}"#;
        let answer = rig.client.post(rig.proxy.uri() + TABLE).body(body).send().await.unwrap();
        let text = answer.text().await.unwrap();
        assert!(text.ends_with(r#"{"timestamp-ms":120009}}]}"#), "{text}");
    });
}

/// A broker that sends every frame back.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from, mut to) = client.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
        }
    });
    address
}

#[test]
fn frames_are_stalled_delayed_and_cut() {
    runs(async {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let at = free.to_string();
        let proxy = KafkaProxy::start(&at, &echo().await).await.unwrap();
        let mut client = tokio::net::TcpStream::connect(&at).await.unwrap();
        let frame = [0, 0, 0, 2, 8, 9];
        let mut back = [0; 6];
        client.write_all(&frame).await.unwrap();
        client.read_exact(&mut back).await.unwrap();
        assert_eq!(back, frame);

        proxy.set(Weather { stalled: true, ..Weather::default() });
        client.write_all(&frame).await.unwrap();
        let silence =
            tokio::time::timeout(Duration::from_millis(200), client.read_exact(&mut back));
        assert!(silence.await.is_err(), "a stalled frame arrived");
        proxy.set(Weather { delay: Duration::from_millis(20), ..Weather::default() });
        client.read_exact(&mut back).await.unwrap();
        let met = proxy.met();
        assert_eq!((met.stalled, met.cut), (1, 0), "{met:?}");
        assert!(met.delayed > 0);

        proxy.cut();
        assert!(client.read_exact(&mut back).await.is_err());
        for _ in 0..200 {
            if proxy.met().cut == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the cut was not counted");
    });
}
