//! Hosts on a bridge, each a network namespace, made by a user who need not be root; cut and healed by routes.
//!
//! A shell holds the namespaces: when it ends, they and all that is in them go. A process on a host also has a name
//! of the host and process ids of its own, as on a machine of its own, or ranks would see that they share memory.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// Sets up the hosts whose names are the arguments, 10.0.0.1 and on, and stays until its input closes.
const SET_UP: &str = "
set -e
mount -t tmpfs tmpfs /run
mkdir /run/netns
ip link add bridge type bridge
ip link set bridge up
number=0
for host in \"$@\"; do
    number=$((number + 1))
    ip netns add $host
    ip link add $host type veth peer name eth0 netns $host
    ip link set $host master bridge up
    ip -n $host link set lo up
    ip -n $host addr add 10.0.0.$number/24 dev eth0
    ip -n $host link set eth0 up
done
echo ready
exec cat
";

/// Goes to a folder, takes a name, sends its log to a file, and becomes the program.
const BECOME: &str =
    "cd \"$1\" && echo \"$2\" > /proc/sys/kernel/hostname && exec 2>>\"$2.log\" && shift 2 && exec \"$@\"";

/// Hosts that can be cut off from each other.
pub(crate) struct Network {
    holder: Child,
    hosts: Vec<&'static str>,
}

impl Network {
    /// Makes hosts of these names; none, loudly, where the machine does not let us.
    pub(crate) fn new(hosts: &[&'static str]) -> Option<Self> {
        let made = Self::try_new(hosts);
        if let Err(problem) = &made {
            let problem = format!("no network namespaces can be made here (unshare, ip): {problem}");
            assert!(std::env::var_os("MUSTER_REQUIRE_ALL").is_none(), "{problem}");
            println!("skipped: {problem}");
        }
        made.ok()
    }

    fn try_new(hosts: &[&'static str]) -> Result<Self, String> {
        let holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", SET_UP, "sh"])
            .args(hosts)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut network = Self { holder, hosts: hosts.to_vec() };
        let mut said = String::new();
        let output = network.holder.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut said).map_err(|error| error.to_string())?;
        if said == "ready\n" {
            return Ok(network);
        }
        let error = network.holder.stderr.take().map(std::io::read_to_string);
        Err(format!("{error:?}"))
    }

    /// The address of a host.
    pub(crate) fn address(&self, host: &str) -> String {
        let number = self.hosts.iter().position(|known| *known == host).unwrap();
        format!("10.0.0.{}", number + 1)
    }

    /// A command that runs inside of the namespaces, as far as a host's network.
    fn on(&self, host: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "--user", "--net", "--mount"]);
        command.args(["--preserve-credentials", "ip", "netns", "exec", host]);
        command
    }

    /// The same command on a host, in that folder, its log in `HOST.log` there.
    pub(crate) fn host(&self, host: &str, folder: &Path, command: &Command) -> Command {
        let mut inside = self.on(host);
        inside.args(["unshare", "--pid", "--uts", "--fork", "--mount-proc", "--kill-child"]);
        inside.args(["sh", "-c", BECOME, "sh"]).arg(folder).arg(host);
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Nothing that `from` sends reaches `to` any more.
    pub(crate) fn cut(&self, from: &str, to: &str) {
        self.route(from, "add", to);
    }

    /// What `from` sends reaches `to` again.
    pub(crate) fn heal(&self, from: &str, to: &str) {
        self.route(from, "del", to);
    }

    fn route(&self, from: &str, verb: &str, to: &str) {
        let changed: Output =
            self.on(from).args(["ip", "route", verb, "blackhole", &self.address(to)]).output().unwrap();
        assert!(changed.status.success(), "{changed:?}");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
