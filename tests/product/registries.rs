//! Package managers, which find their way out by what every program finds it by.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::egress::{verdicts, world};
use crate::words::Said;
use crate::world::{APP, World};

/// A registry's name. This machine knows it for as long as a dispatch and what it starts run.
const NAME: &str = "registry.test";

/// A program of the host, and what it prints.
#[expect(clippy::disallowed_methods, reason = "what the host does beside the program")]
fn host(dir: &Path, program: &str, args: &[&str]) -> Vec<u8> {
    let out = Command::new(program).args(args).current_dir(dir).output().unwrap();
    assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// A package `dep` as npm has it, and `dep` as cargo has it, below one address.
fn registry(dir: &Path) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for (place, text) in [
        ("package/package.json", r#"{"name":"dep","version":"1.0.0"}"#),
        ("package/index.js", "module.exports = 'from npm'"),
        ("dep-1.0.0/Cargo.toml", "[package]\nname = 'dep'\nversion = '1.0.0'\nedition = '2024'"),
        ("dep-1.0.0/src/lib.rs", "// from cargo"),
    ] {
        let place = dir.join(place);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }
    let tgz = host(dir, "tar", &["-cz", "package"]);
    fs::write(dir.join("crate"), host(dir, "tar", &["-cz", "dep-1.0.0"])).unwrap();
    let sum = String::from_utf8(host(dir, "sha256sum", &["crate"])).unwrap();
    let at = format!("http://{NAME}:{port}");
    let packument = format!(
        r#"{{"name":"dep","dist-tags":{{"latest":"1.0.0"}},"versions":{{"1.0.0":
        {{"name":"dep","version":"1.0.0","dist":{{"tarball":"{at}/dep.tgz"}}}}}}}}"#
    );
    let line = format!(
        r#"{{"name":"dep","vers":"1.0.0","deps":[],"cksum":"{}","features":{{}},"yanked":false}}"#,
        &sum[..64]
    );
    let crates = format!(r#"{{"dl":"{at}/crates"}}"#);
    let has: BTreeMap<&str, Vec<u8>> = BTreeMap::from([
        ("/dep", packument.into_bytes()),
        ("/dep.tgz", tgz),
        ("/index/config.json", crates.into_bytes()),
        ("/index/3/d/dep", line.into_bytes()),
        ("/crates/dep/1.0.0/download", fs::read(dir.join("crate")).unwrap()),
    ]);
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut asked = [0; 8192];
            let n = client.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..n]).into_owned();
            let (status, body) = match asked.split(' ').nth(1).and_then(|path| has.get(path)) {
                Some(body) => ("200 OK", body.as_slice()),
                None => ("404 Not Found", &b""[..]),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = client.write_all(&[head.as_bytes(), body].concat());
        }
    });
    port
}

/// Dispatches where these names lead to this machine.
fn dispatch(world: &World, names: &str) {
    let hosts = world.dir.join("hosts");
    fs::write(&hosts, format!("127.0.0.1 localhost {names}\n")).unwrap();
    let mut program = assert_cmd::Command::new("bwrap");
    program.args(["--dev-bind", "/", "/", "--ro-bind"]).arg(hosts).args(["/etc/hosts", "--"]);
    program.arg(env!("CARGO_BIN_EXE_claude-workers"));
    program.args(["dispatch", "-r", APP, "-p", "Look", "-w", "01"]);
    program.env("HOME", world.user_home());
    Said::of(&program.output().unwrap()).ok();
    world.quiet();
}

#[test]
fn npm_and_cargo_work_through_the_proxy_from_the_registry_that_is_allowed_and_no_other() {
    let packages = tempfile::tempdir().unwrap();
    let port = registry(packages.path());
    let cargo = Path::new(env!("CARGO"));
    let toolchain = cargo.ancestors().nth(2).unwrap().display();
    let with_tools =
        |config: String| config.replace("/agents'", &format!("/agents', '{toolchain}'"));
    for allow in [format!("allow_local = ['{NAME}:{port}']"), String::new()] {
        let world = world(&allow);
        let config = fs::read_to_string(world.config_file()).unwrap();
        fs::write(world.config_file(), with_tools(config)).unwrap();
        world.agent(&format!(
            "cd ~; mkdir js rs rs/src rs/.cargo; : >rs/src/lib.rs; cd js; echo '{{}}' >package.json
            npm install dep --registry http://{NAME}:{port} --no-audit --no-fund --fetch-retries 0 \
                >npm.out 2>&1 || tail -3 npm.out
            node -p 'require(\"dep\")' 2>/dev/null
            cd ../rs; export CARGO_HOME=~/cargo RUSTC='{toolchain}/bin/rustc' CARGO_NET_RETRY=0
            printf '[package]\\nname = \"a\"\\nversion = \"1.0.0\"\\n[dependencies]\\ndep = \"1\"\\n' >Cargo.toml
            printf '[source.crates-io]\\nreplace-with = \"r\"\\n[source.r]\\nregistry = \
                \"sparse+http://{NAME}:{port}/index/\"\\n' >.cargo/config.toml
            {cargo} fetch >cargo.out 2>&1 || tail -3 cargo.out
            cat ~/cargo/registry/src/*/dep-1.0.0/src/lib.rs; true",
            cargo = cargo.display(),
        ));
        dispatch(&world, NAME);
        let said = world.cron(&["logs", "01"]).ok().out;
        let got = said.contains("from npm") && said.contains("from cargo");
        assert_eq!(got, !allow.is_empty(), "{said}");
        let wanted = if allow.is_empty() { "refused" } else { "allowed" };
        let seen = verdicts(&world);
        let other = seen.iter().find(|(host, _, verdict)| host == NAME && verdict != wanted);
        assert!(other.is_none() && seen.len() > 2, "{seen:?}\n{said}");
        if allow.is_empty() {
            // What would allow it is said.
            world.cron(&["egress", "01"]).ok().says(&format!("{NAME}:{port}"));
        }
    }
}

/// What the configuration allows comes as far as a run's own proxy: there the name is looked up, and
/// as it leads to this machine here, that is what it is refused for.
#[test]
fn registries_and_hosts_of_an_executor_are_allowed_where_the_configuration_says_so() {
    let names = ["registry.npmjs.org", "static.crates.io", "pypi.org", "one.example.org"];
    for (network, own, allowed) in [
        ("registries = true", "", &names[..3]),
        ("registries = ['npm', 'pypi']", "", &["registry.npmjs.org", "pypi.org"]),
        ("", "allow = ['one.example.org']", &["one.example.org"]),
        ("", "", &[]),
    ] {
        let world = world(network);
        let config = fs::read_to_string(world.config_file()).unwrap();
        let config = config.replace("\ncommand = ", &format!("\n{own}\ncommand = "));
        fs::write(world.config_file(), config).unwrap();
        let asks = names.map(|name| format!("curl -s --max-time 20 https://{name}/"));
        world.agent(&format!("{}; true", asks.join("; ")));
        dispatch(&world, &names.join(" "));
        let seen = world.cron(&["egress", "01"]).ok().out;
        for name in names {
            let line = seen.lines().find(|line| line.contains(name)).expect(name);
            assert_eq!(!line.contains("not allowed"), allowed.contains(&name), "{network}: {line}");
        }
    }
}
