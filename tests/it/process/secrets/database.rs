//! The password of the database: sent to it, and told to nobody else.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::{Outputs, tables};
use crate::support::{PATIENCE, agent::Home, keys::CANARY};

/// Asks for a password in clear text, hands it on, and refuses it (PostgreSQL, frontend/backend protocol).
fn refuse(mut client: TcpStream, heard: &mpsc::Sender<String>) -> std::io::Result<()> {
    let mut buffer = [0; 1_024];
    let _startup = client.read(&mut buffer)?;
    client.write_all(b"R\0\0\0\x08\0\0\0\x03")?;
    let length = client.read(&mut buffer)?;
    // Nobody may wait for it any more.
    let _gone = heard.send(String::from_utf8_lossy(&buffer[..length]).into_owned());
    let fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"u\"\0\0";
    client.write_all(b"E")?;
    client.write_all(&u32::try_from(fields.len() + 4).expect("a length").to_be_bytes())?;
    client.write_all(fields)
}

#[test]
fn password_of_the_database_stays_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (heard, hears) = mpsc::channel();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client may go away in the middle.
            let _ended = refuse(client, &heard);
        }
    });
    let mut home = Home::new("http://127.0.0.1:9", &tables("EXT1a2b3c4d5e6f7"));
    let file = home.path().join("password");
    super::write(&file, "canary0databasepassword\n", 0o600);
    home.set("FIREDRILL__STATE", &format!("postgres://u@{address}/firedrill?sslmode=disable"));
    home.set("FIREDRILL__STATE_PASSWORD_FILE", &file.display().to_string());
    let mut outputs = Outputs::default();
    let agent = home.spawn();
    let told = hears.recv_timeout(PATIENCE).expect("a password");
    assert!(told.contains("canary0databasepassword"), "{told}");
    home.wait_for_log("password authentication failed");
    outputs.add_commands(&home, &[&["check"], &["runs"], &["status"]]);
    drop(agent);
    outputs.add("log", home.log());
    let env = [("FIREDRILL__STATE_PASSWORD_FILE".to_owned(), file.display().to_string())];
    let loaded = firedrill::config::load(&home.config(), env);
    outputs.add("settings", format!("{loaded:?}"));

    for url in ["postgres://u:canary0url@h/db", "postgres://u@h/db?password=canary0url", "postgres://u:canary0url@[h"] {
        home.set("FIREDRILL__STATE", url);
        let said = home.run(&["check"]);
        assert_eq!(said.code, 2, "{url}: {said:?}");
        outputs.add(url.replace(CANARY, ""), format!("{}\n{}", said.stdout, said.stderr));
    }
    outputs.lack(CANARY);
}
