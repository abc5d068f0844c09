//! The edge, over raw sockets: what is no request, comes slowly or is too much gets a typed error or a closed
//! connection, and afterwards everything is as before.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use firedrill::simulator::{self, Limits, Options};

use crate::support::{
    PATIENCE,
    agent::Home,
    wire::{AUTHORIZATION, drill},
};

/// Short enough to be waited for, long enough for a request that is sent at once.
const SHORT: Duration = Duration::from_millis(300);
const MIB: usize = 1024 * 1024;

/// Starts a simulator with limits, and hands its address to a test that blocks.
fn served(limits: Limits, test: impl FnOnce(SocketAddr)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let options = Options { limits, ..Options::default() };
    let simulator = runtime.block_on(simulator::start(options)).expect("the simulator starts");
    test(simulator.addr());
    runtime.block_on(simulator.shutdown());
}

fn patient() -> Limits {
    Limits { head: PATIENCE, body: PATIENCE, ..Limits::default() }
}

fn connected(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Reads until the other side closes or resets the connection.
#[track_caller]
fn rest(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => text.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&text)),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Sends bytes on a connection of their own and returns all that comes back.
#[track_caller]
fn ask(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = connected(addr);
    // The other side may close before it has read everything.
    let _refused = stream.write_all(request);
    rest(&mut stream)
}

/// A request to FIS that closes its connection, with credentials and the given further headers.
fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{line}\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {AUTHORIZATION}\r\n{headers}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.to_vec()].concat()
}

const LIST: &str = "GET /experiments HTTP/1.1";
const CREATE: &str = "POST /experimentTemplates HTTP/1.1";
const JSON: &str = "Content-Type: application/json\r\n";

/// What an answer is: its status and the code of its error; nothing when the connection was closed without one.
fn seen(answer: &str) -> (Option<u16>, Option<String>) {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let code = answer.lines().find_map(|line| line.strip_prefix("x-amzn-errortype: "));
    (status, code.map(str::to_owned))
}

#[track_caller]
fn is_served(addr: SocketAddr) {
    let answer = ask(addr, &request(LIST, "", b""));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn bad_requests_get_typed_errors_and_a_request_id() {
    let deep = [b"{\"a\":".repeat(10_000), b"1".to_vec(), b"}".repeat(10_000)].concat();
    let tags: serde_json::Map<_, _> = (0..10_000).map(|n| (format!("tag{n}"), "v".into())).collect();
    let mut template = drill("t");
    template["tags"] = tags.into();
    template["actions"] = serde_json::json!({"w": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}});
    served(patient(), |addr| {
        for (what, request, status, code) in [
            ("not JSON", request(CREATE, JSON, b"{not json"), 400, "SerializationException"),
            ("not UTF-8", request(CREATE, JSON, b"{\"\xff\": 1}"), 400, "SerializationException"),
            ("a list", request(CREATE, JSON, b"[]"), 400, "SerializationException"),
            ("deep", request(CREATE, JSON, &deep), 400, "SerializationException"),
            ("XML", request(CREATE, "Content-Type: text/xml\r\n", b"<a/>"), 415, "UnsupportedMediaTypeException"),
            ("tags", request(CREATE, JSON, template.to_string().as_bytes()), 400, "ValidationException"),
            ("no route", request("GET /nowhere HTTP/1.1", "", b""), 404, "UnknownOperationException"),
            ("no method", request("BREW /experiments HTTP/1.1", "", b""), 404, "UnknownOperationException"),
            ("a star", request("OPTIONS * HTTP/1.1", "", b""), 404, "UnknownOperationException"),
            ("no escape", request("POST /tags/%zz HTTP/1.1", JSON, b"{}"), 400, "ValidationException"),
            ("large", request(CREATE, JSON, &vec![b' '; 3 * MIB]), 413, "RequestEntityTooLargeException"),
            ("just too large", request(CREATE, JSON, &vec![b' '; MIB + 1]), 413, "RequestEntityTooLargeException"),
            ("as large as may be", request(CREATE, JSON, &vec![b' '; MIB]), 400, "SerializationException"),
        ] {
            let answer = ask(addr, &request);
            assert_eq!(seen(&answer), (Some(status), Some(code.to_owned())), "{what}");
            assert!(answer.contains("\r\nx-amzn-requestid: "), "{what}: {answer}");
        }
        is_served(addr);
    });
}

#[test]
fn what_is_no_http_is_refused_or_closed() {
    served(patient(), |addr| {
        let many: String = (0..500).map(|n| format!("x-{n}: 1\r\n")).collect();
        let long = format!("x: {}\r\n", "y".repeat(200_000));
        for (what, bytes, status) in [
            ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400),
            ("another version", b"GET / HTTP/7.0\r\n\r\n".to_vec(), 400),
            ("no version", b"GET /\r\n\r\n".to_vec(), 400),
            ("a length below zero", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_vec(), 400),
            ("two lengths", b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_vec(), 400),
            ("a long head", request(LIST, &long, b""), 431),
            ("many headers", request(LIST, &many, b""), 431),
        ] {
            assert_eq!(seen(&ask(addr, &bytes)), (Some(status), None), "{what}");
        }
        assert_eq!(ask(addr, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "", "HTTP/2 is closed without a word");
        is_served(addr);
    });
}

#[test]
fn old_pipelined_and_half_closed_requests_are_survived() {
    served(patient(), |addr| {
        let old = ask(addr, &request("GET /experiments HTTP/1.0", "", b""));
        assert!(old.starts_with("HTTP/1.0 200 "), "{old}");
        let first = format!("{LIST}\r\nHost: localhost\r\nAuthorization: {AUTHORIZATION}\r\n\r\n");
        let both = ask(addr, &[first.as_bytes(), &request("GET /nowhere HTTP/1.1", "", b"")].concat());
        let statuses: Vec<_> = both.match_indices("HTTP/1.1 ").map(|(at, _)| &both[at + 9..at + 12]).collect();
        assert_eq!(statuses, ["200", "404"], "{both}");
        for cut in ["GET /experi", "POST /experiments HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"] {
            let mut stream = connected(addr);
            stream.write_all(cut.as_bytes()).expect("a write");
            stream.shutdown(Shutdown::Write).expect("a half close");
            let (status, _) = seen(&rest(&mut stream));
            assert!(status.is_none_or(|status| status == 400), "{cut}: {status:?}");
        }
        let mut kept = connected(addr);
        for _again in 0..3 {
            kept.write_all(first.as_bytes()).expect("a write");
            let mut head = [0; 12];
            kept.read_exact(&mut head).expect("an answer");
            assert_eq!(&head, b"HTTP/1.1 200");
            let mut last = [0; 4];
            // The body of a list without items ends so.
            while &last[1..] != b"[]}" {
                last.rotate_left(1);
                kept.read_exact(&mut last[3..]).expect("a body");
            }
        }
        is_served(addr);
    });
}

#[test]
fn slow_clients_are_let_go() {
    served(Limits { head: SHORT, ..patient() }, |addr| {
        let mut silent = connected(addr);
        assert_eq!(rest(&mut silent), "", "nothing sent");
        assert_eq!(seen(&ask(addr, b"GET /experiments HT")), (None, None), "half a head");
    });
    served(Limits { body: SHORT, ..patient() }, |addr| {
        let mut late = request(CREATE, JSON, b"{\"description\": 1}");
        late.truncate(late.len() - 5);
        let answer = ask(addr, &late);
        assert_eq!(seen(&answer), (Some(408), Some("RequestTimeoutException".to_owned())), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        is_served(addr);
    });
}

#[test]
fn a_client_that_takes_no_answer_is_let_go() {
    served(Limits { body: SHORT, ..patient() }, |addr| {
        let mut greedy = connected(addr);
        greedy.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let asks = format!("GET /actions HTTP/1.1\r\nHost: localhost\r\nAuthorization: {AUTHORIZATION}\r\n\r\n");
        let asks = asks.repeat(100);
        // Some megabytes are on their way before anything stalls.
        let stalled = (0..10_000).find_map(|_| greedy.write_all(asks.as_bytes()).err()).expect("an end");
        let gone = matches!(stalled.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        assert!(gone, "the connection should have been closed: {stalled}");
        is_served(addr);
    });
}

#[test]
fn no_more_connections_are_open_than_may_be() {
    served(Limits { connections: 4, body: SHORT, ..patient() }, |addr| {
        // Whatever happened to those before, four can be open again.
        for _bad in 0..12 {
            ask(addr, b"nonsense\r\n\r\n");
        }
        let mut open: Vec<_> = (0..4).map(|_| connected(addr)).collect();
        for stream in &mut open {
            stream.write_all(&request(LIST, "", b"")[..20]).expect("a write");
        }
        let mut fifth = connected(addr);
        fifth.write_all(&request(LIST, "", b"")).expect("a write");
        fifth.set_read_timeout(Some(SHORT)).expect("a timeout");
        let waits = fifth.read(&mut [0]).expect_err("no answer yet");
        assert!(matches!(waits.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{waits}");
        open.pop();
        fifth.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        assert_eq!(seen(&rest(&mut fifth)).0, Some(200));
        drop(open);
        is_served(addr);
    });
}

#[test]
fn bodies_that_are_too_large_are_not_kept() {
    // A process of its own: other tests need memory at the same time.
    let home = Home::new("http://127.0.0.1:9", "");
    let (simulator, line) = home.simulator();
    let addr = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next());
    let addr: SocketAddr = addr.and_then(|addr| addr.parse().ok()).expect("an address");
    is_served(addr);
    let before = simulator.peak_memory();
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; MIB], b"\r\n"].concat();
    let head =
        format!("{CREATE}\r\nHost: localhost\r\nAuthorization: {AUTHORIZATION}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = connected(addr);
                    stream.write_all(head.as_bytes()).expect("a head");
                    for _piece in 0..10 {
                        stream.write_all(&chunk).expect("a chunk");
                    }
                    stream.write_all(b"0\r\n\r\n").expect("an end");
                    seen(&rest(&mut stream)).0
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().expect("no panic")).collect()
    });
    assert_eq!(answers, [Some(413); 16]);
    let grown = simulator.peak_memory() - before;
    assert!(grown < 80 * MIB, "160 MiB were sent, {} MiB were kept", grown / MIB);
    is_served(addr);
}
