//! What an agent's processes may take, and the paths that the user adds to its jail.

use std::fs;

use crate::world::{Config, World};

#[test]
fn processes_files_and_memory_of_an_agent_have_limits() {
    let sandbox = "processes = 40\nfile_size = '2MiB'\nmemory = '600MiB'";
    let world = World::with(&Config { sandbox, ..Config::default() }, &["01"]);
    let script = r"
        ulimit -c; ulimit -Hn
        head -c 5000000 /dev/zero >~/big 2>/dev/null; wc -c <~/big
        (ulimit -f unlimited) 2>/dev/null && echo RAISED; true
    ";
    // All of them stay, so that none makes room for the next; who cannot start one more ends.
    let crowd = r#"
        (n=0; while [ $n -lt 300 ]; do sleep 1000 & n=$((n+1)); done) 2>/dev/null
        set -- /proc/[0-9]*; echo "most $#"; trap '' TERM; kill -TERM -1
    "#;
    let bomb = "bomb() { bomb | bomb & }; bomb >/dev/null 2>&1; echo lit";
    let said = world.says(script);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[2]), ("0", "2097152"), "{said}");
    assert!(lines[1].parse::<u32>().unwrap() <= 65_536 && !said.contains("RAISED"), "{said}");
    let many = world.says(crowd);
    let most: u32 = many.trim().strip_prefix("most ").unwrap().parse().unwrap();
    assert!((30..=40).contains(&most), "{most} processes at once");
    assert!(world.says(bomb).contains("lit"));
    let memory = world.says("python3 -c 'bytearray(900 << 20)' 2>&1 | tail -1; echo asked");
    assert!(memory.contains("MemoryError") || memory.contains("not found"), "{memory}");
}

#[test]
fn paths_that_the_user_adds_are_there_as_the_user_said() {
    let world = World::new();
    for name in ["tools", "cache"] {
        fs::create_dir(world.dir.join(name)).unwrap();
        fs::write(world.dir.join(name).join("file"), name).unwrap();
    }
    let config = fs::read_to_string(world.config_file()).unwrap();
    let dir = world.dir.display();
    let config = config.replace(
        &format!("read_only = ['{dir}/agents']"),
        &format!("read_only = ['{dir}/agents', '{dir}/tools']\nread_write = ['{dir}/cache', '{dir}/gone']"),
    );
    fs::create_dir(world.dir.join("cache/fixed")).unwrap();
    fs::create_dir(world.dir.join("tools/open")).unwrap();
    let config = config.replace("/tools'", &format!("/tools', '{dir}/cache/fixed'"));
    let config = config.replace("/cache',", &format!("/cache', '{dir}/tools/open',"));
    fs::write(world.config_file(), config).unwrap();
    // The nearest counts.
    let nested = format!(
        "touch {dir}/cache/fixed/x 2>/dev/null || echo fixed; touch {dir}/tools/open/x && echo open"
    );
    assert_eq!(world.says(&nested), "fixed\nopen\n");
    let script = format!(
        "cat {dir}/tools/file {dir}/cache/file; echo; echo x 2>/dev/null >{dir}/tools/file || echo kept
         echo new >{dir}/cache/file && echo changed; ls {dir}"
    );
    assert_eq!(world.says(&script), "toolscache\nkept\nchanged\nagents\ncache\nhome\ntools\n");
    assert_eq!(fs::read_to_string(world.dir.join("cache/file")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(world.dir.join("tools/file")).unwrap(), "tools");
}

#[test]
fn paths_that_would_open_the_wall_are_refused() {
    let world = World::new();
    let link = world.dir.join("link");
    std::os::unix::fs::symlink(&world.dir, &link).unwrap();
    let (root, home) = (world.root.path().display(), world.user_home());
    for key in ["read_only", "read_write"] {
        for path in [
            "/".to_owned(),
            "relative".to_owned(),
            format!("{root}"),
            format!("{root}/.pool"),
            format!("{root}/02"),
            home.display().to_string(),
            world.dir.display().to_string(),
            link.display().to_string(),
            format!("{}/.config", home.display()),
            format!("{}/token", home.display()),
            "~".to_owned(),
            "/proc".to_owned(),
            "/run".to_owned(),
            "/sys/fs/cgroup".to_owned(),
        ] {
            let config = fs::read_to_string(world.config_file()).unwrap();
            let agents = format!("read_only = ['{}/agents']", world.dir.display());
            let odd = config.replace(&agents, &format!("{key} = ['{path}']"));
            fs::write(world.config_file(), odd).unwrap();
            world.cron(&["status"]).exits(2).says(&format!("[sandbox] {key}"));
            fs::write(world.config_file(), config).unwrap();
        }
    }
}
