//! A scripted POP3 server on loopback: it does what Dovecot will not do. One account, no TLS.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// What the server says and has; a test changes it between two sessions.
#[derive(Clone)]
#[allow(dead_code)] // not every test needs every quirk
pub(crate) struct Script {
    pub(crate) messages: Vec<Message>,
    pub(crate) greeting: String,
    /// The lines of CAPA; `None`: it does not know it.
    pub(crate) capa: Option<Vec<&'static str>>,
    /// What it refuses with these words, by the beginning of the line: `UIDL`, `RETR 3`, `PASS`.
    pub(crate) refused: Vec<(&'static str, &'static str)>,
    /// Bytes that LIST says too many.
    pub(crate) size_error: u64,
    /// Ends the connection after so many bytes of the nth message.
    pub(crate) cut: Option<(usize, usize)>,
    /// Ends the connection in place of answering to what begins so.
    pub(crate) hang_up: Option<&'static str>,
    /// Sent behind the answer to STLS.
    pub(crate) behind_stls: &'static [u8],
    /// Sent behind each message's bytes, again and again, without an end.
    pub(crate) endless: bool,
    /// Every command that came, all sessions.
    pub(crate) log: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) uidl: String,
    pub(crate) bytes: Vec<u8>,
}

impl Script {
    /// A server like today's.
    pub(crate) fn new(messages: Vec<Message>) -> Self {
        Self {
            messages,
            greeting: "+OK ready".into(),
            capa: Some(vec!["TOP", "UIDL", "USER", "PIPELINING", "STLS"]),
            refused: Vec::new(),
            size_error: 0,
            cut: None,
            hang_up: None,
            behind_stls: b"",
            endless: false,
            log: Vec::new(),
        }
    }
}

/// The server; it ends with the test's process.
pub(crate) struct Pop3Server {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Pop3Server {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, script) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(script)));
        let shared = Arc::clone(&script);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let script = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let _ = Session::new(&stream, script).run();
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, script }
    }

    /// How many commands began so, in all sessions.
    pub(crate) fn count(&self, verb: &str) -> usize {
        self.script().log.iter().filter(|line| line.starts_with(verb)).count()
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }
}

struct Session<'a> {
    input: BufReader<&'a TcpStream>,
    out: &'a TcpStream,
    script: Arc<Mutex<Script>>,
    messages: Vec<Message>,
    deleted: HashSet<usize>,
}

impl<'a> Session<'a> {
    fn new(stream: &'a TcpStream, script: Arc<Mutex<Script>>) -> Self {
        let messages = script.lock().unwrap().messages.clone();
        Self { input: BufReader::new(stream), out: stream, script, messages, deleted: HashSet::new() }
    }

    fn run(&mut self) -> std::io::Result<()> {
        let greeting = self.script.lock().unwrap().greeting.clone();
        self.say(&greeting)?;
        let mut line = String::new();
        while self.input.by_ref().take(1000).read_line(&mut line)? > 0 {
            let command = std::mem::take(&mut line).trim_end().to_owned();
            let script = {
                let mut script = self.script.lock().unwrap();
                script.log.push(command.clone());
                // the quirks alone: ten thousand messages are not copied for each command
                let (messages, log) = (std::mem::take(&mut script.messages), std::mem::take(&mut script.log));
                let quirks = script.clone();
                (script.messages, script.log) = (messages, log);
                quirks
            };
            if script.hang_up.is_some_and(|start| command.starts_with(start)) || !self.answer(&command, &script)? {
                break;
            }
        }
        Ok(())
    }

    /// Answers false at the end.
    fn answer(&mut self, command: &str, script: &Script) -> std::io::Result<bool> {
        if let Some((_, words)) = script.refused.iter().find(|(start, _)| format!("{command} ").starts_with(*start)) {
            self.say(words)?;
            return Ok(true);
        }
        let mut words = command.split(' ');
        let verb = words.next().unwrap_or_default();
        let number = words.next().and_then(|word| word.parse::<usize>().ok());
        match verb {
            "CAPA" => match &script.capa {
                Some(lines) => self.list(&lines.iter().map(ToString::to_string).collect::<Vec<_>>())?,
                None => self.say("-ERR what?")?,
            },
            "STLS" => {
                // in one piece: what comes after the handshake has begun is another matter
                self.out.write_all(&[b"+OK begin\r\n", script.behind_stls].concat())?;
                return Ok(false);
            }
            "LIST" => {
                let sizes = self.messages.iter().map(|message| message.bytes.len() as u64 + script.size_error);
                self.list(&sizes.enumerate().map(|(at, size)| format!("{} {size}", at + 1)).collect::<Vec<_>>())?;
            }
            "UIDL" => {
                let ids = self.messages.iter().map(|message| &message.uidl).enumerate();
                self.list(&ids.map(|(at, id)| format!("{} {id}", at + 1)).collect::<Vec<_>>())?;
            }
            "RETR" | "TOP" => return self.send(number.unwrap_or(0), verb == "TOP", script),
            "DELE" => {
                self.deleted.insert(number.unwrap_or(0));
                self.say("+OK")?;
            }
            "QUIT" => {
                let gone: Vec<Message> = self.deleted.iter().map(|number| self.messages[number - 1].clone()).collect();
                let mut shared = self.script.lock().unwrap();
                shared.messages.retain(|own| !gone.iter().any(|gone| gone.uidl == own.uidl && gone.bytes == own.bytes));
                drop(shared);
                self.say("+OK bye")?;
                return Ok(false);
            }
            _ => self.say("+OK")?,
        }
        Ok(true)
    }

    fn send(&mut self, number: usize, top: bool, script: &Script) -> std::io::Result<bool> {
        let Some(message) = self.messages.get(number.wrapping_sub(1)) else {
            self.say("-ERR no such message")?;
            return Ok(true);
        };
        let bytes = &message.bytes;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let mut sent = b"+OK\r\n".to_vec();
        stuff(if top { &bytes[..end] } else { bytes }, &mut sent);
        if let Some((_, after)) = script.cut.filter(|(at, _)| *at == number && !top) {
            self.out.write_all(&sent[..after.min(sent.len())])?;
            return Ok(false);
        }
        if script.endless && !top {
            sent.truncate(sent.len() - 3);
            self.out.write_all(&sent)?;
            while self.out.write_all(&vec![b'x'; 65536]).is_ok() {}
            return Ok(false);
        }
        self.out.write_all(&sent)?;
        Ok(true)
    }

    fn say(&mut self, line: &str) -> std::io::Result<()> {
        self.out.write_all(format!("{line}\r\n").as_bytes())
    }

    fn list(&mut self, lines: &[String]) -> std::io::Result<()> {
        let mut text = "+OK\r\n".to_owned();
        for line in lines {
            text.push_str(line);
            text.push_str("\r\n");
        }
        self.out.write_all(format!("{text}.\r\n").as_bytes())
    }
}

/// A message as RFC 1939, 3 sends it, with its end.
fn stuff(bytes: &[u8], sent: &mut Vec<u8>) {
    let mut start = true;
    for (at, &byte) in bytes.iter().enumerate() {
        if start && byte == b'.' {
            sent.push(b'.');
        }
        sent.push(byte);
        start = byte == b'\n' && at > 0 && bytes[at - 1] == b'\r';
    }
    sent.extend_from_slice(if start { b".\r\n" } else { b"\r\n.\r\n" });
}
