//! Each demand of [`Orders::check`] on its own: a request that is right in everything else is refused, and the
//! sentence says which demand it was. Keys, certificates and signatures are real.

use super::*;
use russh::keys::PrivateKey;
use russh::keys::signature::Signer;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::Ed25519Keypair;

const RELAY: NodeId = NodeId(3);
const OTHER_RELAY: NodeId = NodeId(4);
const TARGET: NodeId = NodeId(7);
const OTHER_TARGET: NodeId = NodeId(8);
const NAME: &str = "db-1";
const HOST: &str = "db-1.internal";
const USER: &str = "deploy";
const SESSION: &[u8] = b"an exchange hash of 32 bytes ....";
/// The public half of a key made by `ssh-keygen -t rsa`.
const RSA: &str = "ssh-rsa \
    AAAAB3NzaC1yc2EAAAADAQABAAABAQDJq1mdRvpWcOn1I3pkA22pP5jCSYI3s6TxzagbKMJ5MFGXjo/a1McyFAYcG6\
    DQfYGcAg2pGon7FmF4ICDd6BWNBvPe2xAnnSW++zjJXaqMaZlVav7cG+1GnVTulNKJ21Fr48WEHG8tZcyjEQLqBcxD\
    9yy3+qFJG1i1GpMFuMMmNWgmqQ2N1QjlfI//AzsjHAtH9rOhJnsWeugKQ507shHwsBjxpN+RwGTZnsEzPP79XrtXE/\
    UNZ1esw+8zfFnBTVda9lqYGoiyeJHk1hw9So24AGWqCNsIC3XmiOdby7DFztKGovyLC++ggWGjSVskvQPlPbod3NKz\
    VvILBgyJuEmx";
/// Times of validity, seconds since 1970: long ago and far away.
const LONG_AGO: u64 = 1_000_000;
const FAR_AWAY: u64 = 1 << 40;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn host_key() -> PrivateKey {
    key(1)
}

fn user_key() -> PrivateKey {
    key(2)
}

fn authority() -> PrivateKey {
    key(3)
}

fn other_key() -> PrivateKey {
    key(4)
}

fn wire(key: &PrivateKey) -> Vec<u8> {
    key.public_key().to_bytes().expect("a public key")
}

fn certificate(
    subject: &PrivateKey,
    by: &PrivateKey,
    kind: CertType,
    name: &str,
    from: u64,
    until: u64,
) -> Vec<u8> {
    let mut builder =
        Builder::new([7; 16], subject.public_key().clone(), from, until).expect("times in order");
    builder.cert_type(kind).expect("a kind").valid_principal(name).expect("a name");
    builder.sign(by).expect("a certificate").to_bytes().expect("its bytes")
}

fn host_certificate(by: &PrivateKey, name: &str, from: u64, until: u64) -> Vec<u8> {
    certificate(&host_key(), by, CertType::Host, name, from, until)
}

/// The request of RFC 4252, section 7, spelled out once more: the signer must not be compared with itself.
fn login(session: &[u8], user: &str, algorithm: &str, public_key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let fields = [user.as_bytes(), b"ssh-connection", b"publickey"];
    let put = |bytes: &mut Vec<u8>, text: &[u8]| {
        bytes.extend((text.len() as u32).to_be_bytes());
        bytes.extend(text);
    };
    put(&mut bytes, session);
    bytes.push(50);
    fields.into_iter().for_each(|field| put(&mut bytes, field));
    bytes.push(1);
    put(&mut bytes, algorithm.as_bytes());
    put(&mut bytes, public_key);
    bytes
}

fn signature(by: &PrivateKey, session: &[u8]) -> Vec<u8> {
    by.try_sign(session).expect("a signature").encode_vec().expect("its bytes")
}

fn order() -> Order {
    Order {
        relay: RELAY,
        name: NAME.to_owned(),
        host: HOST.to_owned(),
        user: USER.to_owned(),
        known: Known { keys: vec![wire(&host_key())], ..Known::default() },
        identities: vec![wire(&user_key())],
    }
}

fn request() -> SignRequest {
    SignRequest {
        node: TARGET,
        host_key: wire(&host_key()),
        session_id: SESSION.to_vec(),
        host_signature: signature(&host_key(), SESSION),
        user: USER.to_owned(),
        public_key: wire(&user_key()),
        algorithm: "ssh-ed25519".to_owned(),
        to_sign: login(SESSION, USER, "ssh-ed25519", &wire(&user_key())),
    }
}

/// Orders with one for [`TARGET`], and when it was given.
fn given(order: Order) -> (Orders, Instant) {
    let (mut orders, now) = (Orders::default(), Instant::now());
    orders.give(TARGET, order, now);
    (orders, now)
}

#[track_caller]
fn assert_refused(result: Result<ToSign, Problem>, why: &str) {
    let problem = result.expect_err("a refusal");
    assert_eq!(problem.code, "relay.sign");
    assert!(problem.message.contains(why), "expected `{why}` in: {}", problem.message);
}

/// The refusal of one request, and that it costs nobody the order: the right request is signed afterwards.
#[track_caller]
fn refused(order: Order, request: &SignRequest, why: &str) {
    let (mut orders, now) = given(order.clone());
    assert_refused(orders.check(RELAY, request, now), why);
    let entry = orders.0.get(&TARGET).expect("the order is still there");
    assert!(!entry.used, "a refusal used the order up");
}

fn known_by(authority: &PrivateKey) -> Known {
    Known { authorities: vec![wire(authority)], ..Known::default() }
}

#[track_caller]
fn certificate_refused(certificate: Vec<u8>, known: Known) {
    let request = SignRequest { host_key: certificate, ..request() };
    refused(Order { known, ..order() }, &request, "host key is not known for db-1");
}

#[test]
fn the_ordered_login_is_signed_and_the_signature_is_good() {
    let (mut orders, now) = given(order());
    let allowed = orders.check(RELAY, &request(), now).expect("the ordered login");
    assert_eq!(allowed, ToSign { identity: wire(&user_key()), bytes: request().to_sign });
    let signed = user_key().try_sign(&allowed.bytes).expect("a signature");
    Verifier::verify(user_key().public_key(), &request().to_sign, &signed).expect("what sshd verifies");
}

#[test]
fn without_an_order_nothing_is_signed() {
    assert_refused(Orders::default().check(RELAY, &request(), Instant::now()), "no order");
}

#[test]
fn another_relay_gets_no_signature() {
    let (mut orders, now) = given(order());
    assert_refused(orders.check(OTHER_RELAY, &request(), now), "no order");
    orders.check(RELAY, &request(), now).expect("the relay that was ordered still gets it");
}

#[test]
fn an_order_for_one_node_is_none_for_another() {
    refused(order(), &SignRequest { node: OTHER_TARGET, ..request() }, "no order");
}

#[test]
fn an_order_for_one_host_gives_no_login_to_another() {
    // Both hosts are ordered and known; the relay went to the one and says it is the other.
    let (mut orders, now) = given(order());
    let other = Known { keys: vec![wire(&other_key())], ..Known::default() };
    orders.give(OTHER_TARGET, Order { known: other, ..order() }, now);
    let astray = SignRequest {
        host_key: wire(&other_key()),
        host_signature: signature(&other_key(), SESSION),
        ..request()
    };
    assert_refused(orders.check(RELAY, &astray, now), "host key is not known for db-1");
}

#[test]
fn another_user_is_refused() {
    let to_sign = login(SESSION, "root", "ssh-ed25519", &wire(&user_key()));
    refused(order(), &SignRequest { user: "root".to_owned(), to_sign, ..request() }, "names the user deploy");
}

#[test]
fn another_user_in_the_signed_bytes_alone_is_refused() {
    let to_sign = login(SESSION, "root", "ssh-ed25519", &wire(&user_key()));
    refused(order(), &SignRequest { to_sign, ..request() }, "not the login to db-1 that was ordered");
}

#[test]
fn a_host_key_that_is_not_known_for_the_name_is_refused() {
    let shown = SignRequest {
        host_key: wire(&other_key()),
        host_signature: signature(&other_key(), SESSION),
        ..request()
    };
    refused(order(), &shown, "host key is not known for db-1");
    let nested = SignRequest { host_key: crate::ssh::known_hosts::tests::nested(), ..request() };
    refused(order(), &nested, "certificates within certificates");
    refused(Order { known: Known::default(), ..order() }, &request(), "host key is not known for db-1");
    refused(
        order(),
        &SignRequest { host_key: b"no key".to_vec(), ..request() },
        "host key is not known for db-1",
    );
}

#[test]
fn a_revoked_host_key_is_refused_even_when_it_is_known() {
    let known = Known { revoked: vec![wire(&host_key())], ..order().known };
    refused(Order { known, ..order() }, &request(), "host key is not known for db-1");
}

#[test]
fn the_authority_of_a_name_is_no_host_key_for_it() {
    let shown = SignRequest {
        host_key: wire(&authority()),
        host_signature: signature(&authority(), SESSION),
        ..request()
    };
    refused(Order { known: known_by(&authority()), ..order() }, &shown, "host key is not known for db-1");
}

#[test]
fn the_hosts_signature_over_another_session_is_refused() {
    let host_signature = signature(&host_key(), b"the session of somebody else ....");
    refused(order(), &SignRequest { host_signature, ..request() }, "db-1 did not sign that session");
}

#[test]
fn anothers_signature_over_the_session_is_refused() {
    let host_signature = signature(&other_key(), SESSION);
    refused(order(), &SignRequest { host_signature, ..request() }, "db-1 did not sign that session");
}

#[test]
fn a_signature_that_is_none_is_refused() {
    let whole = signature(&host_key(), SESSION);
    let cut = whole[..whole.len() - 1].to_vec();
    for host_signature in [Vec::new(), b"no signature".to_vec(), cut] {
        refused(order(), &SignRequest { host_signature, ..request() }, "the host's signature cannot be read");
    }
}

#[test]
fn a_session_that_the_host_did_not_sign_is_refused() {
    let session: &[u8] = b"a session that the relay would like";
    let to_sign = login(session, USER, "ssh-ed25519", &wire(&user_key()));
    let request = SignRequest { session_id: session.to_vec(), to_sign, ..request() };
    refused(order(), &request, "db-1 did not sign that session");
}

#[test]
fn another_session_in_the_signed_bytes_alone_is_refused() {
    let to_sign = login(b"a session that the relay would like", USER, "ssh-ed25519", &wire(&user_key()));
    refused(order(), &SignRequest { to_sign, ..request() }, "not the login to db-1 that was ordered");
}

#[test]
fn an_identity_that_was_not_offered_is_refused() {
    let public_key = wire(&other_key());
    let to_sign = login(SESSION, USER, "ssh-ed25519", &public_key);
    refused(order(), &SignRequest { public_key, to_sign, ..request() }, "none that was offered for db-1");
}

#[test]
fn an_identity_that_cannot_be_read_is_refused() {
    let public_key = b"no key".to_vec();
    let order = Order { identities: vec![public_key.clone()], ..order() };
    refused(order, &SignRequest { public_key, ..request() }, "the key cannot be read");
}

#[test]
fn any_byte_that_differs_is_refused() {
    let right = request().to_sign;
    for at in 0..right.len() {
        let mut to_sign = right.clone();
        to_sign[at] ^= 1;
        refused(order(), &SignRequest { to_sign, ..request() }, "not the login to db-1 that was ordered");
    }
    let (short, long) = (right[..right.len() - 1].to_vec(), [right.as_slice(), b"\0"].concat());
    for to_sign in [Vec::new(), short, long] {
        refused(order(), &SignRequest { to_sign, ..request() }, "not the login to db-1 that was ordered");
    }
}

#[test]
fn what_is_no_login_is_never_signed() {
    // A signature that git or `ssh-keygen -Y` would make, and a login to another service.
    let mut service = request().to_sign;
    let at = service.windows(14).position(|text| text == b"ssh-connection").expect("the service");
    service[at..at + 14].copy_from_slice(b"ssh-somewhere!");
    for to_sign in [b"SSHSIG\0\0\0\x03git".to_vec(), service] {
        refused(order(), &SignRequest { to_sign, ..request() }, "not the login to db-1 that was ordered");
    }
}

#[test]
fn an_rsa_key_signs_with_sha512_and_with_nothing_else() {
    let public_key = PublicKey::from_openssh(RSA).expect("a key").to_bytes().expect("its bytes");
    let order = Order { identities: vec![public_key.clone()], ..order() };
    let request = |algorithm: &str| SignRequest {
        algorithm: algorithm.to_owned(),
        to_sign: login(SESSION, USER, algorithm, &public_key),
        public_key: public_key.clone(),
        ..request()
    };
    for weaker in ["ssh-rsa", "rsa-sha2-256"] {
        refused(order.clone(), &request(weaker), "not the login to db-1 that was ordered");
    }
    let (mut orders, now) = given(order);
    orders.check(RELAY, &request("rsa-sha2-512"), now).expect("the login with SHA-512");
}

#[test]
fn a_users_certificate_is_signed_under_its_own_algorithm() {
    const ALGORITHM: &str = "ssh-ed25519-cert-v01@openssh.com";
    let public_key = certificate(&user_key(), &authority(), CertType::User, USER, 0, FAR_AWAY);
    let order = Order { identities: vec![public_key.clone()], ..order() };
    let request = |algorithm: &str| SignRequest {
        to_sign: login(SESSION, USER, algorithm, &public_key),
        public_key: public_key.clone(),
        algorithm: algorithm.to_owned(),
        ..request()
    };
    refused(order.clone(), &request("ssh-ed25519"), "not the login to db-1 that was ordered");
    let (mut orders, now) = given(order);
    let allowed = orders.check(RELAY, &request(ALGORITHM), now).expect("the login with a certificate");
    assert_eq!(allowed.identity, public_key);
}

#[test]
fn an_order_is_good_for_one_signature() {
    let (mut orders, now) = given(order());
    orders.check(RELAY, &request(), now).expect("the first");
    assert_refused(orders.check(RELAY, &request(), now), "one signature for the login to db-1 is used up");

    let again: &[u8] = b"a second session with the host ..";
    let second = SignRequest {
        session_id: again.to_vec(),
        host_signature: signature(&host_key(), again),
        to_sign: login(again, USER, "ssh-ed25519", &wire(&user_key())),
        ..request()
    };
    assert_refused(orders.check(RELAY, &second, now), "used up");
}

#[test]
fn an_order_grows_too_old() {
    let (mut orders, now) = given(order());
    assert_refused(orders.check(RELAY, &request(), now + Duration::from_secs(61)), "older than 60 s");
    orders.check(RELAY, &request(), now + Duration::from_secs(60)).expect("in time");
}

#[test]
fn the_clock_of_an_order_begins_when_its_relay_joins() {
    let (mut orders, now) = given(order());
    let joined = now + Duration::from_secs(120);
    orders.relay_joined(OTHER_RELAY, joined);
    assert_refused(orders.check(RELAY, &request(), joined), "older than 60 s");
    orders.relay_joined(RELAY, joined);
    assert_refused(orders.check(RELAY, &request(), joined + Duration::from_secs(61)), "older than 60 s");
    orders.check(RELAY, &request(), joined + Duration::from_secs(60)).expect("in time");
}

#[test]
fn a_relay_that_joins_again_gets_no_second_signature() {
    let (mut orders, now) = given(order());
    orders.check(RELAY, &request(), now).expect("the first");
    orders.relay_joined(RELAY, now);
    orders.restart(TARGET, now);
    assert_refused(orders.check(RELAY, &request(), now), "used up");
}

#[test]
fn the_clock_of_an_order_begins_when_it_leaves() {
    let (mut orders, now) = given(order());
    let left = now + Duration::from_secs(120);
    orders.restart(OTHER_TARGET, left);
    assert_refused(orders.check(RELAY, &request(), left), "older than 60 s");
    orders.restart(TARGET, left);
    assert_refused(orders.check(RELAY, &request(), left + Duration::from_secs(61)), "older than 60 s");
    orders.check(RELAY, &request(), left + Duration::from_secs(60)).expect("in time");
}

#[test]
fn a_new_order_is_good_for_a_signature_of_its_own() {
    let (mut orders, now) = given(order());
    orders.check(RELAY, &request(), now).expect("the first");
    orders.give(TARGET, order(), now);
    orders.check(RELAY, &request(), now).expect("the second, by the second order");
}

#[test]
fn a_host_certificate_for_the_name_is_as_good_as_a_known_key() {
    let certificate = host_certificate(&authority(), HOST, 0, FAR_AWAY);
    let (mut orders, now) = given(Order { known: known_by(&authority()), ..order() });
    let shown = SignRequest { host_key: certificate, ..request() };
    let allowed = orders.check(RELAY, &shown, now).expect("a certified host");
    assert_eq!(allowed.bytes, request().to_sign);
}

#[test]
fn a_host_certificate_does_not_stand_for_the_hosts_signature() {
    let shown = SignRequest {
        host_key: host_certificate(&authority(), HOST, 0, FAR_AWAY),
        host_signature: signature(&authority(), SESSION),
        ..request()
    };
    refused(Order { known: known_by(&authority()), ..order() }, &shown, "db-1 did not sign that session");
}

#[test]
fn a_host_certificate_whose_time_is_over_is_refused() {
    certificate_refused(host_certificate(&authority(), HOST, 0, LONG_AGO), known_by(&authority()));
}

#[test]
fn a_host_certificate_whose_time_has_not_come_is_refused() {
    certificate_refused(host_certificate(&authority(), HOST, FAR_AWAY, FAR_AWAY + 1), known_by(&authority()));
}

#[test]
fn a_host_certificate_for_another_name_is_refused() {
    // Not even for the name under which the inventory has the host: known_hosts knows it by the other one.
    for name in ["db-2.internal", NAME, "*", "DB-1.internal.evil"] {
        certificate_refused(host_certificate(&authority(), name, 0, FAR_AWAY), known_by(&authority()));
    }
}

#[test]
fn a_host_certificate_by_another_authority_is_refused() {
    certificate_refused(host_certificate(&other_key(), HOST, 0, FAR_AWAY), known_by(&authority()));
    certificate_refused(host_certificate(&authority(), HOST, 0, FAR_AWAY), Known::default());
}

#[test]
fn a_certificate_is_refused_when_its_key_or_its_authority_is_revoked() {
    for revoked in [host_key(), authority()] {
        let known = Known { revoked: vec![wire(&revoked)], ..known_by(&authority()) };
        certificate_refused(host_certificate(&authority(), HOST, 0, FAR_AWAY), known);
    }
}

#[test]
fn a_users_certificate_is_none_for_a_host() {
    let users = certificate(&host_key(), &authority(), CertType::User, HOST, 0, FAR_AWAY);
    certificate_refused(users, known_by(&authority()));
}

#[test]
fn a_host_certificate_with_a_damaged_signature_is_refused() {
    let mut certificate = host_certificate(&authority(), HOST, 0, FAR_AWAY);
    if let Some(last) = certificate.last_mut() {
        *last ^= 1;
    }
    certificate_refused(certificate, known_by(&authority()));
}

#[test]
fn hosts_that_share_a_key_are_found() {
    let (mut orders, now) = given(order());
    let named = |name: &str, key: &PrivateKey| Order {
        name: name.to_owned(),
        known: Known { keys: vec![wire(key)], ..Known::default() },
        ..order()
    };
    orders.give(NodeId(9), named("db-3", &host_key()), now);
    orders.give(OTHER_TARGET, named("db-2", &host_key()), now);
    orders.give(NodeId(10), named("web-1", &other_key()), now);
    let pair = |left: &str, right: &str| (left.to_owned(), right.to_owned());
    assert_eq!(orders.shared_host_keys(), [pair(NAME, "db-2"), pair(NAME, "db-3")]);
}

#[test]
fn one_host_under_two_accounts_shares_nothing() {
    let (mut orders, now) = given(order());
    orders.give(OTHER_TARGET, Order { user: "root".to_owned(), ..order() }, now);
    assert_eq!(orders.shared_host_keys(), []);
}
