//! Networks as companies have them: an authority of their own, proxies, and connections that break.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{
    chat_server::{ChatServer, Reply},
    common::{Ran, Room, pdf},
};

const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");

fn room() -> Room {
    let room = Room::new();
    room.put("in.pdf", pdf(&["one", "two", "three"]));
    room
}

/// `omnidocs extract in.pdf` with a server, with these variables set.
fn ask(room: &Room, url: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command = room.omnidocs(&format!(
        "extract in.pdf -o out.jsonl --restart --engine server --server-url {url} --server-wait 3 \
         --max-pixels 30000 --min-pixels 1024"
    ));
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    Ran::of(command.envs(variables.iter().copied()))
}

/// Listens on an address of loopback, and serves each connection on a thread.
fn listen(
    at: &str,
    serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((at, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            // A client that goes away is its own affair.
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// The head and the body of a request.
fn read_request(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut reader = BufReader::new(from);
    let (mut request, mut length) = (Vec::new(), 0);
    loop {
        let start = request.len();
        if reader.read_until(b'\n', &mut request)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&request[start..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let start = request.len();
    request.resize(start + length, 0);
    reader.read_exact(&mut request[start..])?;
    Ok(request)
}

/// The address of a chat server as it is in its URL.
fn host(server: &ChatServer) -> String {
    server.url().replace("http://", "").replace("/v1", "")
}

/// Passes one request on to `to`, and its answer back.
fn forward(request: &[u8], to: &str, back: &mut impl Write) -> io::Result<()> {
    let mut server = TcpStream::connect(to)?;
    server.write_all(request)?;
    // The server keeps its connection open, so the answer ends where it says.
    let answer = read_request(&mut server)?;
    back.write_all(&answer)?;
    back.flush()
}

/// A server of TLS in front of `server`, with a certificate of the tests' own authority.
fn with_tls(at: &str, server: &ChatServer) -> SocketAddr {
    let certificate = CertificateDer::from_pem_file(format!("{TLS}/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{TLS}/server.key")).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (config, to) = (Arc::new(config), host(server));
    listen(at, move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        loop {
            let request = read_request(&mut stream)?;
            forward(&request, &to, &mut stream)?;
        }
    })
}

#[test]
fn certificates_of_ssl_cert_file_are_trusted_and_others_end_the_run_at_once() {
    let (room, server) = (room(), ChatServer::new());
    let port = with_tls("127.0.0.1", &server).port();
    let url = format!("https://localhost:{port}/v1");
    let begin = Instant::now();
    let ran = ask(&room, &url, &[]).expect(1);
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "it is not waited for"
    );
    for words in ["cannot be trusted", "UnknownIssuer", "set SSL_CERT_FILE"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    let authority = format!("{TLS}/ca.pem");
    ask(&room, &url, &[("SSL_CERT_FILE", &authority)]).expect(0);
    assert_eq!(room.records("out.jsonl").len(), 3);
    // Elsewhere this address is not one of loopback.
    if cfg!(target_os = "linux") {
        let other = with_tls("127.0.0.2", &server);
        let url = format!("https://{other}/v1");
        let ran = ask(&room, &url, &[("SSL_CERT_FILE", &authority)]).expect(1);
        let words = "use the name that the certificate is for";
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}

/// A proxy that says how often it was used: for `CONNECT` alone, as ureq uses all.
fn proxy(used: &Arc<AtomicUsize>) -> SocketAddr {
    let used = Arc::clone(used);
    listen("127.0.0.1", move |mut stream| {
        let head = read_request(&mut stream)?;
        let head = String::from_utf8_lossy(&head);
        let to = head.split(' ').nth(1).unwrap_or_default().to_owned();
        used.fetch_add(1, Ordering::Relaxed);
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
        loop {
            let request = read_request(&mut stream)?;
            forward(&request, &to, &mut stream)?;
        }
    })
}

#[test]
fn proxies_are_used_by_curls_rules_and_named() {
    let (room, server, used) = (room(), ChatServer::new(), Arc::<AtomicUsize>::default());
    let proxy = format!("http://{}", proxy(&used));
    let url = server.url();
    for (name, no_proxy, goes_through) in [
        ("http_proxy", ("", ""), true),
        ("HTTP_PROXY", ("", ""), true),
        ("ALL_PROXY", ("NO_PROXY", "example.com, 10.0.0.0/8"), true),
        ("https_proxy", ("", ""), false),
        ("HTTP_PROXY", ("NO_PROXY", "127.0.0.0/8"), false),
        ("http_proxy", ("no_proxy", "*"), false),
    ] {
        let before = used.load(Ordering::Relaxed);
        let variables = [(name, proxy.as_str()), no_proxy];
        let variables: Vec<_> = variables
            .into_iter()
            .filter(|(name, _)| !name.is_empty())
            .collect();
        ask(&room, &url, &variables).expect(0);
        let uses = used.load(Ordering::Relaxed) - before;
        assert_eq!(uses > 0, goes_through, "{variables:?}");
    }
    // Nobody listens there.
    let ran = ask(
        &room,
        &url,
        &[("HTTP_PROXY", "http://me:secret@127.0.0.1:9")],
    )
    .expect(1);
    assert!(
        ran.stderr.contains("(through the proxy of HTTP_PROXY)"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    let ran = ask(&room, &url, &[("all_proxy", "ftp://me:secret@127.0.0.1:9")]).expect(1);
    assert!(
        ran.stderr.contains("all_proxy has no proxy's URL"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
}

#[test]
fn connection_resets_lose_and_repeat_no_page() {
    let (room, server) = (room(), ChatServer::new());
    let (to, count) = (host(&server), AtomicUsize::new(0));
    let flaky = listen("127.0.0.1", move |mut stream| {
        if count.fetch_add(1, Ordering::Relaxed) % 2 == 0 {
            // What is not read when a connection is closed resets it.
            return stream.read_exact(&mut [0; 8]);
        }
        let request = read_request(&mut stream)?;
        forward(&request, &to, &mut stream)
    });
    ask(
        &room,
        &format!("http://{flaky}/v1"),
        &[("OMNIDOCS_SERVER_WAIT", "30")],
    )
    .expect(0);
    assert_eq!(room.records("out.jsonl").len(), 3);
    assert!(server.served().values().all(|&times| times == 1));
}

#[test]
fn permanent_redirect_of_a_page_is_not_followed() {
    let (room, elsewhere) = (room(), ChatServer::new());
    for code in [302, 308] {
        let header = format!("Location: {}/chat/completions\r\n", elsewhere.url());
        let server = ChatServer::with(Duration::ZERO, move |_, _| {
            Reply::Status(code, header.clone(), String::new())
        });
        let ran = ask(&room, &server.url(), &[]).expect(1);
        for words in [&code.to_string(), "set --server-url to the final URL"] {
            assert!(ran.stderr.contains(words), "{}", ran.stderr);
        }
        assert_eq!(elsewhere.requests().len(), 0);
    }
}
