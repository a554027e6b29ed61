use super::*;
use std::cell::RefCell;
use std::io::Cursor;
use std::rc::Rc;

/// Says what it was told to say, one byte at a time, and keeps what it hears.
struct Server {
    says: Cursor<Vec<u8>>,
    hears: Rc<RefCell<Vec<u8>>>,
}

impl Read for Server {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.says.read(into.get_mut(..1).unwrap_or_default())
    }
}

impl Write for Server {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hears.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn request(method: &'static str, url: &str, follow: Follow) -> Request<'static> {
    let headers = vec![("Authorization".to_owned(), "x".to_owned()), ("X-A".to_owned(), "b".to_owned())];
    let body: &[u8] = if method == "POST" { b"body" } else { b"" };
    Request { method, url: Url::parse(url).unwrap(), headers, body, follow, limit_ms: 1 }
}

type Answered = Result<(Reply<Server>, String), Error>;

/// Each connection answers with the next of these; gives the last reply with its body, and all that was asked.
fn ask(request: &Request<'_>, says: &[&str]) -> (Answered, Vec<String>) {
    let heard = RefCell::new(Vec::new());
    let reply = request.send_by(|_| {
        let hears = Rc::new(RefCell::new(Vec::new()));
        let says = says.get(heard.borrow().len()).copied().unwrap_or_default();
        heard.borrow_mut().push(Rc::clone(&hears));
        Ok(Server { says: Cursor::new(says.as_bytes().to_vec()), hears })
    });
    let reply = reply.and_then(|mut reply| {
        let mut text = String::new();
        match reply.body.read_to_string(&mut text) {
            Ok(_) => Ok((reply, text)),
            Err(why) => Err(broken(&reply.url, &why)),
        }
    });
    let heard = heard.into_inner().into_iter();
    (reply, heard.map(|heard| String::from_utf8(heard.borrow().clone()).unwrap()).collect())
}

fn body(says: &str) -> Result<String, String> {
    let (reply, _) = ask(&request("GET", "http://a/", Follow::None), &[says]);
    reply.map(|(_, body)| body).map_err(|error| error.to_string())
}

#[test]
fn a_request_is_written_as_http_has_it() {
    let (reply, heard) = ask(
        &request("POST", "http://A.b:81/x?y=1#z", Follow::None),
        &["HTTP/1.1 201 Made it\r\nX-B:  c \r\n\r\nend"],
    );
    assert_eq!(
        heard,
        [
            "POST /x?y=1 HTTP/1.1\r\nHost: a.b:81\r\nAuthorization: x\r\nX-A: b\r\nUser-Agent: waft\r\nAccept: */*\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
        ]
    );
    let (reply, body) = reply.unwrap();
    assert_eq!(
        (reply.status, reply.reason.as_str(), reply.header("x-b"), body.as_str()),
        (201, "Made it", Some("c"), "end")
    );
}

#[test]
fn a_body_ends_where_its_head_says() {
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef"), Ok("abc".to_owned()));
    assert_eq!(body("HTTP/1.0 200\r\n\r\nall"), Ok("all".to_owned()));
    assert_eq!(
        body("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 x\r\nContent-Length: 3\r\n\r\n"),
        Ok(String::new())
    );
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
    assert_eq!(
        body(&format!("{chunked}3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX: y\r\n\r\nmore")),
        Ok("abc0123456789".to_owned())
    );
    assert_eq!(body(&format!("{chunked}0\r\n\r\n")), Ok(String::new()));
    for broken in [
        "",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 99 OK\r\n\r\n",
        "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        &format!("{chunked}3\r\nab"),
        &format!("{chunked}x\r\nab"),
        &format!("{chunked}3\r\nabcd\r\n0\r\n\r\n"),
        &format!("HTTP/1.1 200 {}", "x".repeat(70_000)),
    ] {
        assert!(body(broken).is_err(), "{broken:.80}");
    }
}

#[test]
fn redirects_are_followed_as_far_as_is_wanted() {
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://other/y\r\nContent-Length: 0\r\n\r\n";
    let done = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (reply, heard) = ask(&request("GET", "http://a/x", Follow::Safe), &[moved, done]);
    let (reply, body) = reply.unwrap();
    assert_eq!(
        (reply.status, reply.redirected, reply.url.to_string().as_str(), body.as_str()),
        (200, true, "http://other/y", "ok")
    );
    assert!(heard[0].contains("Authorization") && !heard[1].contains("Authorization"), "{heard:?}");
    // Nor anything else that may be secret, and what is not goes on.
    assert!(heard[0].contains("X-A: b") && !heard[1].contains("X-A"), "{heard:?}");
    let mut plain = request("GET", "http://a/x", Follow::Safe);
    plain.headers = ["Accept-Language", "user-agent", "PRIVATE-TOKEN"]
        .map(|name| (name.to_owned(), "x".to_owned()))
        .into();
    let (_, heard) = ask(&plain, &[moved, done]);
    assert!(heard[0].contains("PRIVATE-TOKEN: x") && !heard[1].contains("PRIVATE-TOKEN"), "{heard:?}");
    assert!(heard[1].contains("Accept-Language: x\r\nuser-agent: x\r\n"), "{heard:?}");
    let mut named = request("GET", "http://a/x", Follow::Safe);
    named.headers.push(("host".to_owned(), "www.b".to_owned()));
    let (_, heard) = ask(&named, &[moved, done]);
    assert!(
        heard[0].contains("\r\nHost: www.b\r\n") && heard[1].contains("\r\nHost: other\r\n"),
        "{heard:?}"
    );
    assert!(heard.iter().all(|heard| heard.to_lowercase().matches("\r\nhost:").count() == 1), "{heard:?}");
    for (method, follow, asked) in
        [("POST", Follow::Safe, 1), ("GET", Follow::None, 1), ("POST", Follow::All, 2)]
    {
        let (reply, heard) = ask(&request(method, "http://a/x", follow), &[moved, done]);
        assert_eq!((reply.unwrap().0.redirected, heard.len()), (asked == 2, asked), "{method}");
        assert!(heard.get(1).is_none_or(|heard| heard.starts_with("GET /y ") && heard.ends_with("\r\n\r\n")));
    }
    let same = "HTTP/1.1 308 x\r\nLocation: z\r\nContent-Length: 0\r\n\r\n";
    let (_, heard) = ask(&request("POST", "http://a/x/y", Follow::All), &[same, done]);
    assert!(
        heard[1].starts_with("POST /x/z ")
            && heard[1].contains("Authorization")
            && heard[1].ends_with("body")
    );
    let (reply, heard) = ask(&request("GET", "http://a/x", Follow::Safe), &[same; 20]);
    assert_eq!((reply.err().unwrap().code.as_str(), heard.len()), ("http.redirects", 11));
    // The same host and port without TLS, or with it, is another place.
    let tls = "HTTP/1.1 301 x\r\nLocation: https://a:80/\r\n\r\n";
    let (reply, heard) = ask(&request("GET", "http://a/x", Follow::Safe), &[tls, done]);
    assert_eq!(reply.unwrap().0.url.to_string(), "https://a:80/");
    assert!(!heard[1].contains("Authorization") && heard[1].contains("Host: a:80"), "{heard:?}");
}

#[test]
fn addresses_are_read_and_joined() {
    for (text, shown) in [
        ("http://a", "http://a/"),
        ("HTTP://A:80?x", "http://a/?x"),
        ("https://a:8443/b#c", "https://a:8443/b"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
    ] {
        assert_eq!(Url::parse(text).unwrap().to_string(), shown);
    }
    for bad in [
        "a/b",
        "ftp://a/",
        "http://",
        "http://:80/",
        "http://a:0/",
        "http://a:x/",
        "http://u:p@a/",
        "http://a/ b",
        "http://[::1/",
        "http://[::1]x/",
        "http://\u{e9}/",
    ] {
        assert_eq!(Url::parse(bad).unwrap_err().code, "params.url", "{bad}");
    }
    let base = Url::parse("http://a:81/b/c?d").unwrap();
    for (to, joined) in [
        ("/x", "http://a:81/x"),
        ("x?y=http://z", "http://a:81/b/x?y=http://z"),
        ("?q", "http://a:81/b/c?q"),
        ("../../x/./y/..", "http://a:81/x/"),
        ("//h/i", "http://h/i"),
        ("https://h", "https://h/"),
    ] {
        assert_eq!(base.join(to).unwrap().to_string(), joined, "{to}");
    }
    assert_eq!((base.file_name(), Url::parse("http://a").unwrap().file_name()), ("c", ""));
    assert_eq!(basic("a", "b:c"), "Basic YTpiOmM=");
    assert!(
        check_header("X-A", "b c").is_ok()
            && check_header("X A", "").is_err()
            && check_header("A", "b\r\nC: d").is_err()
    );
}
