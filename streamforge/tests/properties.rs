//! `KAFKA_PROPERTIES` means the same to emitter and processor, which share no crate.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use data_emitter::Properties;
use stream_processor::config::properties;

#[track_caller]
fn check(text: &str) {
    let emitter = text.parse::<Properties>();
    let emitter = emitter.map(|properties| {
        properties.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect::<Vec<_>>()
    });
    match (emitter, properties(text)) {
        (Ok(emitter), Ok(processor)) => assert_eq!(emitter, processor, "{text}"),
        (Err(emitter), Err(processor)) => {
            let number = |text: &str| text.split(' ').nth(1).map(str::to_owned);
            assert_eq!(number(&emitter.to_string()), number(&processor.to_string()), "{text}");
        }
        (emitter, processor) => panic!("{text}: {emitter:?}, {processor:?}"),
    }
}

#[test]
fn emitter_and_processor_read_the_same() {
    for text in [
        "",
        ",",
        "a=1",
        " a = 1 ,, b=2,",
        "a=x=y",
        "a=",
        r"a=x\,y,b=\\,c=\\\,d=1",
        r"a=C:\x\",
        "security.protocol=sasl_ssl,sasl.mechanism=PLAIN,sasl.username=u,sasl.password=p\\,q==",
        "ssl.ca.pem=-----BEGIN-----\nx\n",
        "a=1,b",
        "=1",
        "a b=1",
        "a=1,ü=2",
        r"a=x,y",
        r"\,=1",
    ] {
        check(text);
    }
}
