//! Trouble on request, and the log.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use claude_workers::fakehub::{FakeHub, Fault, NewIssue, NewRepo, Options, Trouble, Weather};
use serde_json::json;

use crate::http::Client;

const COMMENTS: &str = "/repos/octo/app/issues/1/comments";

fn world() -> (FakeHub, Client, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(&Options::new(dir.path())).unwrap();
    hub.add_user("octo").unwrap();
    hub.add_token("octo", "octo-token", None).unwrap();
    hub.add_repo(&NewRepo::new("octo/app")).unwrap();
    hub.add_issue("octo/app", &NewIssue::new("octo", "One")).unwrap();
    let octo = Client::new(&hub.api_url(), Some("octo-token"));
    (hub, octo, dir)
}

fn comments(hub: &FakeHub) -> usize {
    hub.comments("octo/app", 1).unwrap().len()
}

#[test]
fn an_injected_answer_replaces_the_request() {
    let (hub, octo, _dir) = world();
    let slow_down = Fault::answer("POST", "/comments", 429).header("retry-after", "30");
    hub.inject(slow_down.body(json!({"message": "secondary rate limit"})));
    let body = json!({"body": "x"});
    let refused = octo.send("POST", COMMENTS, Some(&body));
    assert_eq!((refused.status, refused.header("retry-after")), (429, "30"));
    assert_eq!(refused.json["message"], "secondary rate limit");
    assert_eq!(comments(&hub), 0);
    assert_eq!(octo.send("POST", COMMENTS, Some(&body)).status, 201);
}

#[test]
fn a_dropped_connection_brings_no_byte() {
    let (hub, octo, _dir) = world();
    hub.inject(Fault::drop_connection("POST", "/comments"));
    hub.inject(Fault::drop_connection("POST", "/comments").applied());
    let body = json!({"body": "x"});
    assert_eq!(octo.raw("POST", COMMENTS, Some(&body)), "");
    assert_eq!(comments(&hub), 0);
    assert_eq!(octo.raw("POST", COMMENTS, Some(&body)), "");
    assert_eq!(comments(&hub), 1);
}

#[test]
fn an_error_can_hide_that_the_request_was_done() {
    let (hub, octo, _dir) = world();
    hub.inject(Fault::answer("POST", "/comments", 502).applied());
    assert_eq!(octo.send("POST", COMMENTS, Some(&json!({"body": "x"}))).status, 502);
    assert_eq!(comments(&hub), 1);
}

#[test]
fn a_truncated_answer_is_shorter_than_it_says() {
    let (hub, octo, _dir) = world();
    hub.inject(Fault::truncate("GET", "/user"));
    let cut = octo.raw("GET", "/user", None);
    let whole = octo.raw("GET", "/user", None);
    let body = |raw: &str| raw.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap();
    assert!(cut.starts_with("HTTP/1.1 200 OK"), "{cut}");
    assert!(cut.contains(&format!("content-length: {}\r\n", body(&whole).len())), "{cut}");
    assert_eq!(body(&cut), body(&whole)[..body(&whole).len() / 2]);
}

#[test]
fn a_replica_shows_what_was_so_many_changes_ago() {
    let (hub, octo, _dir) = world();
    hub.add_comment("octo/app", 1, "octo", "first").unwrap();
    hub.label("octo/app", 1, "bug", "octo").unwrap();
    hub.add_issue("octo/app", &NewIssue::new("octo", "Two")).unwrap();
    let behind = |lag: u64| {
        hub.inject(Fault::stale("GET", "", lag).times(3));
        let list = octo.get("/repos/octo/app/issues").json.as_array().unwrap().len();
        let said = octo.get(COMMENTS).json.as_array().map_or(0, Vec::len);
        (list, said, octo.get("/repos/octo/app/issues/1").json["labels"][0]["name"] == "bug")
    };
    assert_eq!(behind(1), (1, 1, true));
    assert_eq!(behind(2), (1, 1, false));
    assert_eq!(behind(3), (1, 0, false));
    assert_eq!(behind(4), (0, 0, false));
    assert_eq!(octo.get("/repos/octo/app/issues").json.as_array().unwrap().len(), 2);
}

#[test]
fn a_request_can_arrive_twice_and_an_element_be_on_two_pages() {
    let (hub, octo, _dir) = world();
    hub.inject(Fault::twice("POST", "/comments"));
    assert_eq!(octo.send("POST", COMMENTS, Some(&json!({"body": "x"}))).status, 201);
    assert_eq!(comments(&hub), 2);
    let page = |n: u64| {
        let page = octo.get(&format!("{COMMENTS}?per_page=1&page={n}"));
        page.json.as_array().unwrap().iter().map(|c| c["id"].clone()).collect::<Vec<_>>()
    };
    let (first, second) = (page(1), page(2));
    hub.inject(Fault::repeat("GET", "page=2"));
    assert_eq!(page(2), [first[0].clone(), second[0].clone()]);
}

#[test]
fn weather_comes_and_goes_and_is_noted() {
    let (hub, octo, _dir) = world();
    hub.set_weather(Some(Weather::new(1, 1000, &[Trouble::SignedOut])));
    assert_eq!(octo.get("/user").status, 401);
    hub.set_weather(None);
    assert_eq!(octo.get("/user").status, 200);
    assert_eq!(hub.struck().into_iter().collect::<Vec<_>>(), [(Trouble::SignedOut, 1)]);
    let noted: Vec<_> = hub.exchanges().iter().map(|e| (e.weather, e.injected)).collect();
    assert_eq!(noted, [(Some(Trouble::SignedOut), true), (None, false)]);
}

#[test]
fn forgotten_rules_do_not_strike() {
    let (hub, octo, _dir) = world();
    hub.inject(Fault::answer("*", "", 500).times(10));
    assert_eq!(octo.get("/user").status, 500);
    hub.clear_faults();
    assert_eq!(octo.get("/user").status, 200);
}

#[test]
fn the_log_has_everything_but_the_token() {
    let (hub, octo, _dir) = world();
    hub.inject(Fault::drop_connection("GET", "/user"));
    octo.raw("GET", "/user?x=1", None);
    octo.send("POST", COMMENTS, Some(&json!({"body": "hello"})));
    Client::new(hub.server_url(), None).get("/octo/app.git/info/refs?service=git-upload-pack");
    let log = hub.exchanges();
    assert_eq!(log[0].line(), "GET /user?x=1");
    assert_eq!((log[0].status, log[0].injected), (None, true));
    assert_eq!((log[1].status, log[1].injected), (Some(201), false));
    assert_eq!(log[1].login.as_deref(), Some("octo"));
    assert_eq!(log[1].request, Some(json!({"body": "hello"})));
    assert_eq!(log[1].response.as_ref().unwrap()["body"], "hello");
    assert_eq!(log[1].header("user-agent"), Some("test"));
    assert_eq!((log[1].api, log[2].api), (true, false));
    assert!(!format!("{log:?}").contains("octo-token"));
    hub.clear_exchanges();
    assert_eq!(hub.exchanges().len(), 0);
}

#[test]
fn it_stops_when_it_is_dropped() {
    let (hub, _, _dir) = world();
    hub.add_user("only-here").unwrap();
    let address = hub.server_url().trim_start_matches("http://").to_owned();
    // The port may be another server's at once, so that a refused connection is not the measure.
    let found = || {
        let mut answer = String::new();
        let mut socket = TcpStream::connect(&address)?;
        write!(
            socket,
            "GET /users/only-here HTTP/1.1\r\nhost: x\r\nuser-agent: x\r\nconnection: close\r\n\r\n"
        )?;
        socket.read_to_string(&mut answer)?;
        Ok::<bool, std::io::Error>(answer.contains("\"login\":\"only-here\""))
    };
    assert!(found().unwrap());
    drop(hub);
    assert!(!found().unwrap_or(false));
}

#[test]
fn a_taken_port_is_named() {
    let (hub, _, dir) = world();
    let port = hub.server_url().rsplit_once(':').unwrap().1.parse().unwrap();
    let error = FakeHub::start(&Options { port, ..Options::new(dir.path()) }).unwrap_err();
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    assert!(error.hint().is_some());
}
