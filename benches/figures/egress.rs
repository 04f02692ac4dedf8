//! What jail and way out cost: a launch with both against one with neither and one without a network,
//! and a request through the proxy against one over the host's network.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use super::Res;
use super::stage::{REPO, Stage, Workshop};
use super::table::{Table, Times};

const LAUNCHES: usize = 25;
const REQUESTS: usize = 500;

pub fn measure(workshop: &Workshop, table: &mut Table) -> Res {
    launches(workshop, table)?;
    requests(workshop, table)
}

fn launches(workshop: &Workshop, table: &mut Table) -> Res {
    let stage = Stage::with_workers(workshop, 1)?;
    let words = ["-r", REPO, "-p", "Look around."];
    let settings = [
        "sandbox.mode = 'none'\nnetwork.mode = 'host'",
        "network.mode = 'none'",
        "network.mode = 'proxy'",
    ];
    let mut all = [(); 3].map(|()| Times::default());
    for round in 0..=LAUNCHES {
        // By turns, so that whatever else the machine does strikes all.
        for (setting, times) in settings.iter().zip(&mut all) {
            stage.configure(&format!("git.fetch_max_age = '1h'\n{setting}"))?;
            let started = stage.dispatch("01", &words)?;
            if round > 0 {
                times.add(started.first_instruction);
            }
        }
    }
    let [open, jailed, with] = all;
    Table::note("`dispatch -p`, no jail: first instruction", &open.shown());
    Table::note("… in a jail without a network", &jailed.shown());
    Table::note("… in a jail with the proxy", &with.shown());
    let added = with.median() - jailed.median();
    table.row("the proxy adds to a launch", &format!("{added:.2} ms"), "≤ 10 ms", added <= 10.0);
    let added = with.median() - open.median();
    table.row(
        "jail and proxy add to a launch",
        &format!("{added:.2} ms"),
        "≤ 10 ms",
        added <= 10.0,
    );
    Ok(())
}

fn requests(workshop: &Workshop, table: &mut Table) -> Res {
    let port = service()?;
    let direct = asked(workshop, "network.mode = 'host'", port, 0)?;
    let local = format!("network.allow_local = ['127.0.0.1:{port}']");
    let through = asked(workshop, &local, port, 3128)?;
    Table::note("a request over the host's network", &direct.shown());
    Table::note("… through the proxy", &through.shown());
    let added = through.median() - direct.median();
    table.row("the proxy adds to a request", &format!("{added:.2} ms"), "≤ 1 ms", added <= 1.0);
    Ok(())
}

/// Has an agent ask from inside of its jail.
fn asked(workshop: &Workshop, network: &str, port: u16, proxy: u16) -> Res<Times> {
    let stage = Stage::with_workers(workshop, 1)?;
    let ask = workshop.ask.display();
    let command = format!("['{ask}', '{port}', '{proxy}', '{REQUESTS}', '{{prompt_file}}']");
    stage.configure(&format!("{network}\nexecutors.asking.command = {command}"))?;
    let took = stage.root.home(&"01".parse()?).join("took");
    stage.run_to_its_end("01", &["-r", REPO, "-p", "Ask.", "-e", "asking"])?;
    let mut times = Times::default();
    for line in std::fs::read_to_string(took)?.lines() {
        times.add(Duration::from_nanos(line.parse()?));
    }
    Ok(times)
}

/// Answers everybody, at once.
fn service() -> Res<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.set_nodelay(true);
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK");
        }
    });
    Ok(port)
}
