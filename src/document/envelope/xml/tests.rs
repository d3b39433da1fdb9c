use proptest::prelude::*;

use super::*;

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Refused(why)) => why.en.into_owned(),
        other => panic!("{other:?}"),
    }
}

/// What a document is made of, one word for each event.
fn events(mut input: impl Read) -> Result<Vec<String>, Error> {
    let mut xml = Xml::new(&mut input)?;
    let mut seen = Vec::new();
    loop {
        let word = match xml.next()? {
            Event::Start => format!("<{}", xml.local()),
            Event::Text(text) => text,
            Event::End => format!(">{}", xml.local()),
            Event::Eof => return Ok(seen),
        };
        seen.push(word);
    }
}

#[test]
fn a_document_is_a_stream_of_starts_texts_and_ends() {
    let cases: [(&str, &[&str]); 6] = [
        ("<a/>", &["<a", ">a"]),
        (
            "<?xml version='1.0'?>\n<!-- - -- > --><a>\n <b>x</b>\t<c/>\n</a>\n<!-- end -->\n",
            &["<a", "<b", "x", ">b", "<c", ">c", ">a"],
        ),
        (
            "<a>x<!-- y -->z<![CDATA[<&]]]]><![CDATA[>]]>&lt;&#233;&#xE9;&apos;&quot;&gt;&amp;</a>",
            &["<a", "xz<&]]>&lt;éé'\">&".replace("&lt;", "<").leak(), ">a"],
        ),
        ("<p:a xmlns:p='u'><p:b>é</p:b ></p:a>", &["<a", "<b", "é", ">b", ">a"]),
        ("<a>one<b/>two</a>", &["<a", "one", "<b", ">b", "two", ">a"]),
        ("<a>b\u{1}c\r\nd</a>", &["<a", "b c\nd", ">a"]),
    ];
    for (xml, expected) in cases {
        assert_eq!(events(xml.as_bytes()).unwrap(), expected, "{xml}");
    }
}

#[test]
fn namespaces_are_resolved_and_attributes_are_found_whatever_their_prefix() {
    let mut input =
        "<n:a xmlns:n='u' xmlns='v' n:x='&lt;1&#10;'><b/><c xmlns=''><n:d y='é' z='2'/></c><e/></n:a>".as_bytes();
    let mut xml = Xml::new(&mut input).unwrap();
    let mut seen = Vec::new();
    loop {
        match xml.next().unwrap() {
            Event::Start => seen.push((xml.namespace().to_owned(), xml.path().join("/"))),
            Event::Eof => break,
            _ => continue,
        }
        match xml.local() {
            "a" => assert_eq!(
                (xml.attribute("x"), xml.attribute("n"), xml.root().namespace.as_str()),
                (Some("<1\n"), None, "u")
            ),
            "d" => {
                assert_eq!((xml.attribute("y"), xml.attribute("z"), xml.attribute("x")), (Some("é"), Some("2"), None));
            }
            _ => {}
        }
    }
    let expected = [("u", "a"), ("v", "a/b"), ("", "a/c"), ("u", "a/c/d"), ("v", "a/e")];
    assert_eq!(seen, expected.map(|(namespace, path)| (namespace.to_owned(), path.to_owned())));
}

#[test]
fn text_and_skip_go_to_the_end_of_their_element() {
    let mut input = "<a><b> x<c>y</c>z </b><d><b/><d>1</d>&lt;</d><e/><f>2</f></a>".as_bytes();
    let mut xml = Xml::new(&mut input).unwrap();
    xml.next().unwrap();
    xml.next().unwrap();
    assert_eq!(xml.text().unwrap(), "xz");
    xml.next().unwrap();
    xml.skip().unwrap();
    assert_eq!((xml.local(), xml.path().len()), ("d", 2));
    xml.next().unwrap();
    xml.skip().unwrap();
    assert_eq!(xml.local(), "e");
    xml.next().unwrap();
    assert_eq!(xml.text().unwrap(), "2");
    assert_eq!((xml.next().unwrap(), xml.next().unwrap()), (Event::End, Event::Eof));
}

#[test]
fn a_body_is_streamed_up_to_the_next_tag() {
    let long = "QUJD\r\n".repeat(50_000);
    let text = format!("<a><b>{long}&#13;<!-- c --><![CDATA[RE]]>VG<?pi?>&#233;</b><c/>rest</a>");
    let mut input = text.as_bytes();
    let mut xml = Xml::new(&mut input).unwrap();
    xml.next().unwrap();
    xml.next().unwrap();
    let mut body = String::new();
    xml.body().read_to_string(&mut body).unwrap();
    assert_eq!(body, format!("{long}\rREVGé"));
    assert_eq!(xml.next().unwrap(), Event::End);
    xml.next().unwrap();
    body.clear();
    xml.body().read_to_string(&mut body).unwrap();
    assert_eq!(body, "", "an empty element has no body");
    assert_eq!((xml.next().unwrap(), xml.next().unwrap()), (Event::End, Event::Text("rest".to_owned())));
}

#[test]
fn what_is_malformed_is_refused_with_its_place() {
    let deep = "<a>".repeat(100_000);
    let wide = format!("<a {}/>", "b='' ".repeat(MOST_ATTRIBUTES + 1));
    let spaces = format!("<a {}/>", "xmlns:b='u' ".repeat(MOST_NAMESPACES + 1));
    let cases = [
        ("<a><b></a>", "byte 10"),
        ("<a>", "ends before </a>"),
        ("", "ends before the root"),
        ("  <!-- x -->", "ends before the root"),
        ("<a/><b/>", "second root"),
        ("<a/>x", "outside of the root"),
        ("x<a/>", "outside of the root"),
        ("<a>&bomb;</a>", "unknown entity"),
        ("<a>R & D</a>", "unknown entity"),
        ("<a>&#xD800;</a>", "unknown entity"),
        ("<a b='&bomb;'/>", "unknown entity"),
        ("<a b=c d/>", "broken attribute"),
        ("<a><!-- ", "inside a comment"),
        ("<a", "malformed"),
        ("<a><![CDATA[x", "ends before"),
        ("<a><!ENTITY x 'y'></a>", "malformed"),
        ("<!DOCTYPE a><a/>", "DOCTYPE"),
        ("<!doctype a [<!ENTITY x 'y'><!ENTITY z '&x;&x;'>]><a>&z;</a>", "DOCTYPE"),
        ("<a><!DOCTYPE b></a>", "DOCTYPE"),
        (&deep, "256 elements"),
        (&wide, "too many attributes"),
        (&spaces, "too many attributes"),
    ];
    for (xml, why) in cases {
        let said = refused(events(xml.as_bytes()));
        assert!(said.contains(why) && !said.contains('\n'), "{}: {said}", &xml[..xml.len().min(80)]);
    }
}

#[test]
fn a_giant_tag_is_refused_before_it_is_held_and_a_giant_text_is_cut() {
    let giant = |head: &'static str, tail: &'static str| {
        head.as_bytes().chain(io::repeat(b'x').take(40 << 20)).chain(tail.as_bytes())
    };
    assert!(refused(events(giant("<a b='", "'/>"))).contains("a tag of more than"));
    assert!(refused(events(giant("<", "/>"))).contains("a tag of more than"));
    for (head, tail, length) in [("<a>", "</a>", LONGEST_TEXT), ("<a><![CDATA[", "]]></a>", LONGEST_TEXT)] {
        assert_eq!(events(giant(head, tail)).unwrap()[1].len(), length);
    }
    assert_eq!(events(giant("<a><!--", "--></a>")).unwrap().len(), 2);
}

#[test]
fn an_input_that_fails_is_no_fault_of_the_document() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::TimedOut.into())
        }
    }
    for start in ["", "<a>", "<a b='", "<a><!-- "] {
        let long = [start, &" ".repeat(CHUNK)].concat();
        let error = events(long.as_bytes().chain(Failing)).unwrap_err();
        assert!(matches!(&error, Error::Read(error) if error.kind() == io::ErrorKind::TimedOut), "{start}: {error}");
    }
}

#[test]
fn sniffing_finds_the_root_of_xml_alone() {
    let root = |text: &str| sniff(&mut text.as_bytes()).unwrap().map(|root| (root.namespace, root.local));
    let is = |namespace: &str, local: &str| Some((namespace.to_owned(), local.to_owned()));
    assert_eq!(root("\u{feff}<?xml version='1.0'?><!-- x --><n:a xmlns:n='u' x='1'>cut"), is("u", "a"));
    assert_eq!(root("\n<a b='c'/>"), is("", "a"));
    for other in ["", "%PDF-1.7 <a/>", "PK\u{3}\u{4}", "{\"a\": 1}", "<", "< a", "\u{1f}\u{8b}", "a: 1", "</a>", " "] {
        assert_eq!(root(other), None, "{other}");
    }
    let far = format!("<!-- {} --><a/>", "x".repeat(CHUNK));
    assert_eq!(root(&far), None);
    assert!(
        refused(sniff(&mut "<?xml version='1.0'?><!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>".as_bytes()))
            .contains("DOCTYPE")
    );
}

#[test]
fn a_document_that_may_still_grow_is_told_from_one_that_is_broken() {
    let whole = "<?xml version='1.0'?><n:a xmlns:n='u'><b c='é'>x &amp; y</b><!-- z --><![CDATA[1]]></n:a>\n";
    assert!(matches!(complete(&mut whole.as_bytes()).unwrap(), Completeness::Closed(root) if root.local == "a"));
    for end in 0..whole.len() - 1 {
        let state = complete(&mut &whole.as_bytes()[..end]);
        assert!(matches!(state, Ok(Completeness::Open(_))), "cut at {end}: {state:?}");
    }
    for broken in ["<a></b> ", "<a>&x; </a>", "<a/>x ", "<!DOCTYPE a><a/>"] {
        refused(complete(&mut broken.as_bytes()));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[<>a/!?\\-&;#x=' \\[\\]CDAT]{0,60}") {
        for input in [bytes.as_slice(), text.as_bytes(), &[b"<a>", text.as_bytes(), b"</a>"].concat()] {
            let _ = sniff(&mut &*input);
            let _ = complete(&mut &*input);
            if let Ok(events) = events(input) {
                prop_assert!(events.len() <= input.len() + 1);
                let whole = complete(&mut &*input);
                prop_assert!(matches!(whole, Ok(Completeness::Closed(_))), "{:?}", whole);
            }
        }
    }
}
