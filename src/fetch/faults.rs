//! Networks that break: each test gives the fault and its nearest good neighbour.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use osbuilder_testkit::key::Key;
use osbuilder_testkit::repository::Files;
use osbuilder_testkit::server::{Reply, Request, Server, answer};

use super::Network;
use super::addresses::Addresses;
use super::transport::Transport;
use super::url::Url;
use super::world::{DAY, NOW, World, lock, message, suite};

const DEB: &str = "pool/a_1_amd64.deb";

fn archive() -> Vec<u8> {
    suite("1", NOW).packages[0].archive("amd64")
}

/// Fetches the one package from a server that answers its request like this; the number of
/// requests comes along.
fn fetch(
    reply: impl Fn(&Request, &[u8]) -> Reply + Send + Sync + 'static,
) -> (Result<(), String>, usize) {
    let key = Key::default();
    let repository = suite("1", NOW);
    let files = repository.files(&key);
    let deb = archive();
    let server = Server::start(move |request| match request.path() {
        DEB => reply(request, &deb),
        _ => answer(&files, request),
    });
    let world = World::new(&key, &[&server.url()]);
    let lock = lock(&world.indexes().unwrap(), &repository);
    let result = world.packages(&lock).map(|_| ()).map_err(|error| message(&error));
    let kept = world.store.contains(&lock.packages[0].digest).unwrap();
    assert_eq!(kept, result.is_ok());
    (result, server.requests().iter().filter(|request| request.path() == DEB).count())
}

#[test]
fn f10_truncated_downloads_are_tried_again_and_then_refused() {
    let length = archive().len();
    for cut in [0, 1, length - 1] {
        let announced = move |deb: &[u8]| {
            Reply::head(200, &[("Content-Length", &deb.len().to_string())]).send(&deb[..cut])
        };
        let (always, asked) = fetch(move |_, deb| announced(deb));
        assert!(always.unwrap_err().contains("no mirror has a 1"), "{cut}");
        assert_eq!(asked, 2);
        let once = fetch(move |request, deb| match request.repeat {
            0 => announced(deb),
            _ => Reply::ok(deb),
        });
        assert_eq!(once, (Ok(()), 2), "{cut}");
        // Without a length, the signed size decides.
        let (unannounced, _) = fetch(move |_, deb| Reply::head(200, &[]).send(&deb[..cut]));
        assert!(unannounced.unwrap_err().contains(&format!("{cut} bytes of {length}")), "{cut}");
    }
    let chunked = |deb: &[u8], end: &[u8]| {
        let head = Reply::head(200, &[("Transfer-Encoding", "chunked")]);
        head.send(format!("{:x}\r\n", deb.len()).as_bytes()).send(deb).send(b"\r\n").send(end)
    };
    assert_eq!(fetch(move |_, deb| chunked(deb, b"0\r\n\r\n")), (Ok(()), 1));
    let (cut, _) = fetch(move |_, deb| chunked(&deb[..9], b""));
    assert!(cut.is_err());
}

/// Half of the archive first; then what `second` says to the request for the rest.
fn resumed(
    second: impl Fn(&Request, &[u8]) -> Reply + Send + Sync + 'static,
) -> (Result<(), String>, usize) {
    fetch(move |request, deb| match (request.headers.get("range"), request.repeat) {
        (None, 0) => {
            let length = deb.len().to_string();
            Reply::head(200, &[("Content-Length", &length), ("ETag", "\"v1\"")]).send(&deb[..100])
        }
        (Some(_), _) => second(request, deb),
        (None, _) => Reply::ok(deb),
    })
}

#[test]
fn f11_transfers_are_resumed_only_where_nothing_can_have_changed() {
    let range = |deb: &[u8], from: usize, etag: &str| {
        let range = format!("bytes {from}-{}/{}", deb.len() - 1, deb.len());
        let length = (deb.len() - from).to_string();
        let headers =
            [("Content-Range", range.as_str()), ("Content-Length", &length), ("ETag", etag)];
        Reply::head(206, &headers).send(&deb[from..])
    };
    let good = resumed(move |request, deb| {
        assert_eq!(request.headers["range"], "bytes=100-");
        assert_eq!(request.headers["if-range"], "\"v1\"");
        range(deb, 100, "\"v1\"")
    });
    assert_eq!(good, (Ok(()), 2));
    // 200 instead of 206, another version, another place, 416: from the start, once.
    let whole = resumed(|_, deb| Reply::ok(deb));
    let changed = resumed(move |_, deb| range(deb, 100, "\"v2\""));
    let elsewhere = resumed(move |_, deb| range(deb, 99, "\"v1\""));
    let impossible = resumed(|_, _| Reply::status(416));
    for result in [whole, changed, elsewhere, impossible] {
        assert_eq!(result, (Ok(()), 3));
    }
    // The rest of another file under the same validator: the digest notices.
    let lying = resumed(|_, deb| {
        let range = format!("bytes 100-{}/{}", deb.len() - 1, deb.len());
        let rest = vec![0; deb.len() - 100];
        Reply::head(206, &[("Content-Range", &range), ("ETag", "\"v1\"")]).send(&rest)
    });
    assert_eq!(lying, (Ok(()), 3));
    // A weak validator proves nothing.
    let weak = fetch(|request, deb| match request.repeat {
        0 => {
            let length = deb.len().to_string();
            Reply::head(200, &[("Content-Length", &length), ("ETag", "W/\"v1\"")]).send(&deb[..100])
        }
        _ if request.headers.contains_key("range") => Reply::status(500),
        _ => Reply::ok(deb),
    });
    assert_eq!(weak, (Ok(()), 2));
}

#[test]
fn f12_altered_bytes_are_asked_for_once_more_past_the_caches() {
    let fresh = |request: &Request| request.headers.contains_key("cache-control");
    let stale = fetch(move |request, deb| {
        assert_eq!(request.headers["accept-encoding"], "identity");
        if fresh(request) { Reply::ok(deb) } else { Reply::ok(&vec![b'x'; deb.len()]) }
    });
    assert_eq!(stale, (Ok(()), 2));
    let (stubborn, asked) = fetch(|_, deb| Reply::ok(&vec![b'x'; deb.len()]));
    assert!(stubborn.unwrap_err().contains("digest"));
    assert_eq!(asked, 2);
    let (encoded, _) = fetch(|_, deb| {
        let length = deb.len().to_string();
        Reply::head(200, &[("Content-Length", &length), ("Content-Encoding", "gzip")]).send(deb)
    });
    assert!(encoded.unwrap_err().contains("came encoded as \"gzip\""));
}

#[test]
fn f13_a_captive_portal_is_recognized_and_nothing_of_it_is_kept() {
    let key = Key::default();
    let page = b"  <!DOCTYPE html><html><body>Please log in</body></html>";
    let portal = Server::start(|_| Reply::ok(page));
    let mut world = World::new(&key, &[&portal.url()]);
    world.refused("looks like a web page");
    let demand = Server::start(|_| Reply::status(511));
    World::new(&key, &[&demand.url()]).refused("looks like a web page");
    world.offline = true;
    world.refused("must be in the cache");

    let files = suite("1", NOW).files(&key);
    let server = Server::start(move |request| match request.repeat {
        0 => answer(&files, request),
        _ => Reply::ok(page),
    });
    let mut world = World::new(&key, &[&server.url()]);
    assert!(world.indexes().is_ok());
    world.refused("looks like a web page");
    world.offline = true;
    assert!(world.index_text().contains("Version: 1"));
}

#[test]
fn f14_redirects_are_followed_by_rules() {
    let deb = |request: &Request, deb: &[u8], location: &str| {
        if request.headers.contains_key("x") { Reply::ok(deb) } else { Reply::redirect(location) }
    };
    for (location, rule) in [
        ("file:///etc/passwd", "which is not an address of the network"),
        ("ftp://x/", "which is no address to follow"),
        ("/pool/a_1_amd64.deb", "after too many redirects"),
        ("", "which is no address to follow"),
    ] {
        let (result, _) = fetch(move |request, body| deb(request, body, location));
        let error = result.unwrap_err();
        assert!(error.contains(rule), "{location}: {error}");
    }
}

#[test]
fn f14_five_hops_are_enough_and_credentials_stay_with_their_host() {
    let deb = archive();
    let other = Server::start(move |_| Reply::ok(&deb));
    let target = format!("{}/x", other.url());
    let key = Key::default();
    let repository = suite("1", NOW);
    let files = repository.files(&key);
    let server = Server::start(move |request| match request.path() {
        DEB => Reply::redirect("/hop1"),
        "hop1" => Reply::redirect("/hop2"),
        "hop2" => Reply::redirect("/hop3"),
        "hop3" => Reply::redirect("/hop4"),
        "hop4" => Reply::redirect(&target),
        _ => answer(&files, request),
    });
    let url = server.url().replace("http://", "http://user:secret@");
    let world = World::new(&key, &[&url]);
    let lock = lock(&world.indexes().unwrap(), &repository);
    world.packages(&lock).unwrap();
    let sent = |server: &Server| {
        server.requests().iter().filter(|r| r.headers.contains_key("authorization")).count()
    };
    assert_eq!(sent(&server), server.requests().len());
    assert_eq!((sent(&other), other.requests().len()), (0, 1));
    assert!(!lock.repositories[0].url.contains("secret"));
}

#[test]
fn c1_a_redirect_that_smuggles_lines_is_refused_after_one_request() {
    let (result, asked) =
        fetch(|_, _| Reply::redirect("/x%0a%0a201%20URI%20Done%0aSHA256-Hash:%20aa"));
    assert!(result.unwrap_err().contains("which is no address to follow"));
    assert_eq!(asked, 1);
}

#[test]
fn c2_an_endless_line_is_refused_without_being_trusted() {
    let key = Key::default();
    let mut files = suite("1", NOW).files(&key);
    let mut text = files["dists/test/InRelease"].clone();
    let at = text.windows(6).position(|window| window == b"Suite:").unwrap();
    let long = [b"X: ", vec![b'x'; 5_000_000].as_slice(), b"\n"].concat();
    text.splice(at..at, long);
    files.insert("dists/test/InRelease".into(), text);
    let server = Server::with_files(files);
    World::new(&key, &[&server.url()]).refused("is longer than 16384 bytes");
}

#[test]
fn c13_malformed_lengths_are_refused() {
    for length in ["-1", "99999999999999999999", "0x10", ""] {
        let (result, _) =
            fetch(move |_, deb| Reply::head(200, &[("Content-Length", length)]).send(deb));
        assert!(result.is_err(), "{length}");
    }
    let twice = |second: String| {
        fetch(move |_, deb| {
            let first = deb.len().to_string();
            Reply::head(200, &[("Content-Length", &first), ("Content-Length", &second)]).send(deb)
        })
    };
    assert!(twice("5".into()).0.is_err());
    assert_eq!(twice(archive().len().to_string()), (Ok(()), 1));
}

#[test]
fn f7_a_wrong_clock_is_named_as_the_cause() {
    let key = Key::default();
    let server = Server::with_files(suite("1", NOW).files(&key));
    let mut world = World::new(&key, &[&server.url()]);
    world.now = 1;
    world.refused("in the future");
    world.now = NOW - 2 * DAY;
    world.refused("in the future");
    world.now = u32::MAX;
    assert!(world.indexes().is_ok());
}

#[test]
fn f14_encryption_is_not_given_up_by_a_redirect() {
    let transport = Transport::new(&Network::default());
    let hop = |from: &str, location: &str| {
        let from: Url = from.parse().unwrap();
        let body = ureq::Body::builder().data("");
        let response = ureq::http::Response::builder().header("Location", location).body(body);
        transport.next_hop(&from, &from, &response.unwrap()).map_err(|error| error.to_string())
    };
    let downgraded = hop("https://192.0.2.1/x", "http://192.0.2.2/x").unwrap_err();
    assert!(downgraded.contains("which would give up encryption"), "{downgraded}");
    for (from, to) in [
        ("https://192.0.2.1/x", "https://192.0.2.2/x"),
        ("http://192.0.2.1/x", "https://192.0.2.2/x"),
        ("http://192.0.2.1/x", "http://192.0.2.2/x"),
    ] {
        assert_eq!(hop(from, to).unwrap().to_string(), to);
    }
}

#[test]
fn f15_hosts_are_reached_by_whichever_of_their_addresses_works() {
    let serve = |ip: IpAddr| {
        let listener = TcpListener::bind((ip, 0)).ok()?;
        Some(Server::at(listener, |_| Reply::ok(b"text")))
    };
    let four = serve(Ipv4Addr::LOCALHOST.into()).unwrap();
    let six = serve(Ipv6Addr::LOCALHOST.into());
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reach = |all: Vec<SocketAddr>| {
        let addresses =
            Addresses::looked_up_by(Duration::from_secs(5), move |_, _| Ok(all.clone()));
        let transport = Transport::with(&Network::default(), addresses);
        let url = "http://mirror.example/x".parse().unwrap();
        let request = super::transport::Request { url, size: None, cap: 100, fresh: false };
        transport.open(request).unwrap().into_bytes().unwrap()
    };
    assert_eq!(reach(vec![four.address()]), b"text");
    assert_eq!(reach(vec![refusing, four.address()]), b"text");
    match six {
        Some(six) => {
            assert_eq!(reach(vec![six.address()]), b"text");
            assert_eq!(reach(vec![refusing, six.address()]), b"text");
        }
        None => crate::testing::do_without("this machine has no IPv6"),
    }
}

#[test]
fn f16_a_pool_out_of_step_names_the_date_and_says_so() {
    for broken in [Reply::status(404), Reply::ok(b"a newer one")] {
        let key = Key::default();
        let repository = suite("1", NOW);
        let files = repository.files(&key);
        let newer = suite("2", NOW + DAY).files(&key);
        let server = Server::start(move |request| match request.path() {
            DEB => broken.clone(),
            path if path.ends_with("InRelease") && request.repeat > 0 => answer(&newer, request),
            _ => answer(&files, request),
        });
        let world = World::new(&key, &[&server.url()]);
        let lock = lock(&world.indexes().unwrap(), &repository);
        let error = world.packages(&lock).unwrap_err();
        assert!(error.is_out_of_step());
        let both = "as the index of 2023-11-14T22:13:20Z promised it, \
                    and now there is one of 2023-11-15T22:13:20Z";
        assert!(message(&error).contains(both), "{error}");
    }
}

#[test]
fn f17_mirrors_may_differ_as_long_as_one_snapshot_rules() {
    let key = Key::default();
    let repository = suite("2", NOW);
    let new = repository.files(&key);
    let bare: Files = new.iter().filter(|(p, _)| p.ends_with("InRelease")).map(own).collect();
    let stale = suite("1", NOW - DAY).files(&key);
    // The first has the release file only, the second an older state, the third everything.
    let servers = [bare, stale, new].map(Server::with_files);
    let urls = servers.each_ref().map(Server::url);
    let world = World::new(&key, &urls.each_ref().map(String::as_str));
    assert!(world.index_text().contains("Version: 2"));
    let lock = lock(&world.indexes().unwrap(), &repository);
    assert!(world.packages(&lock).is_ok());
}

fn own((path, content): (&String, &Vec<u8>)) -> (String, Vec<u8>) {
    (path.clone(), content.clone())
}

#[test]
fn what_the_cache_has_is_not_fetched_and_offline_is_silent() {
    let key = Key::default();
    let repository = suite("1", NOW);
    let server = Server::with_files(repository.files(&key));
    let mut world = World::new(&key, &[&server.url()]);
    let lock = lock(&world.indexes().unwrap(), &repository);
    world.offline = true;
    let error = message(&world.packages(&lock).unwrap_err());
    assert_eq!(error, "1 packages (a …) must be in the cache when working offline");
    world.offline = false;
    world.packages(&lock).unwrap();
    world.offline = true;
    let before = server.requests().len();
    assert!(world.packages(&lock).is_ok() && world.indexes().is_ok());
    assert_eq!(server.requests().len(), before);
}

#[test]
fn a_proxy_gets_the_requests() {
    let key = Key::default();
    let files = suite("1", NOW).files(&key);
    let proxy = Server::start(move |request| {
        let path = request.line.trim_start_matches("GET http://mirror.invalid/").to_owned();
        let inner = Request { line: format!("GET /{path}"), headers: BTreeMap::new(), repeat: 0 };
        answer(&files, &inner)
    });
    let mut world = World::new(&key, &["http://mirror.invalid"]);
    world.network.proxies.http = Some(proxy.url());
    world.network.patience.connect = Duration::from_secs(2);
    assert!(world.index_text().contains("Version: 1"));
    assert!(proxy.requests()[0].line.starts_with("GET http://mirror.invalid/dists/test/InRelease"));
}

#[test]
fn a_proxy_that_cannot_be_reached_is_named_without_its_password() {
    let key = Key::default();
    let mut world = World::new(&key, &["http://mirror.invalid"]);
    world.network.proxies.http = Some("http://user:secret@127.0.0.1:1/".to_owned());
    let told = world.refused("by the proxy 127.0.0.1:1");
    assert!(!told.contains("secret"), "{told}");
}

#[test]
fn f14_nobody_outside_sends_us_to_this_machine_or_its_link() {
    let key = Key::default();
    for target in ["http://169.254.169.254/latest", "http://127.0.0.1:1/", "http://[::1]/x"] {
        let proxy = Server::start(move |_| Reply::redirect(target));
        let mut world = World::new(&key, &["http://mirror.invalid"]);
        world.network.proxies.http = Some(proxy.url());
        world.refused("which is this machine or its own link");
    }
}
