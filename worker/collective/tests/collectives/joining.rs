//! Who may join a group, and what becomes of those who may not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use muster_collective::{AbortHandle, Collective, Config, Error, Refusal, Transport, connect};

use crate::world::{World, addresses, listeners};

const PAIR: World = World { max_message: 1000, ..World::new(Transport::Auto, 2) };

/// Rank 0 waits for rank 1; a first caller comes with an altered configuration, then the right one.
fn call_with(alter: impl FnOnce(&mut Config<'_>)) -> Error {
    let listeners = listeners(2);
    let peers = addresses(&listeners);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| connect(PAIR.config(0, &listeners[0], peers.clone())).map(|_| ()));
        let mut config = PAIR.config(1, &listeners[1], peers.clone());
        alter(&mut config);
        let error = connect(config).err().unwrap();
        connect(PAIR.config(1, &listeners[1], peers.clone())).unwrap();
        waiting.join().unwrap().unwrap();
        error
    })
}

#[test]
fn a_caller_of_another_job_is_refused_and_the_group_still_forms() {
    let error = call_with(|config| config.job = "another".into());
    assert!(matches!(error, Error::Refused { peer: 0, refusal: Refusal::Job }), "{error}");
}

#[test]
fn a_caller_of_an_older_generation_is_refused_and_told_the_current_one() {
    let error = call_with(|config| config.generation = 2);
    assert!(
        matches!(error, Error::Refused { peer: 0, refusal: Refusal::Generation { theirs: 3 } }),
        "{error}"
    );
}

#[test]
fn a_caller_with_another_secret_is_refused() {
    let error = call_with(|config| config.secret = [8; 16]);
    assert!(matches!(error, Error::Refused { peer: 0, refusal: Refusal::Secret }), "{error}");
}

#[test]
fn a_caller_that_counts_other_ranks_is_refused() {
    let error = call_with(|config| {
        config.world_size = 3;
        config.peers.push(config.peers[0]);
    });
    assert!(matches!(error, Error::Refused { peer: 0, refusal: Refusal::WorldSize }), "{error}");
}

#[test]
fn a_newer_generation_waits_for_a_peer_that_is_still_in_the_older_one() {
    let listeners = listeners(2);
    let peers = addresses(&listeners);
    std::thread::scope(|scope| {
        let newer = scope.spawn(|| {
            let config = Config { generation: 4, ..PAIR.config(1, &listeners[1], peers.clone()) };
            connect(config).map(|group| group.rank())
        });
        let abort = AbortHandle::new().unwrap();
        let older = Config { abort: abort.clone(), ..PAIR.config(0, &listeners[0], peers.clone()) };
        // The older generation's wait ends with its abort, as when the coordinator announces the new one.
        let older = scope.spawn(move || connect(older).err().unwrap());
        abort.abort("generation 4");
        assert!(matches!(older.join().unwrap(), Error::Aborted { .. }));
        connect(Config { generation: 4, ..PAIR.config(0, &listeners[0], peers.clone()) }).unwrap();
        assert_eq!(newer.join().unwrap().unwrap(), 1);
    });
}

#[test]
fn strangers_that_send_garbage_or_nothing_do_not_hold_up_the_group() {
    let listeners = listeners(2);
    let peers = addresses(&listeners);
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(peers[0]).unwrap()).collect();
    let mut garbage = TcpStream::connect(peers[0]).unwrap();
    garbage.write_all(&[0xAB; 4096]).unwrap();
    std::thread::scope(|scope| {
        let low = scope.spawn(|| connect(PAIR.config(0, &listeners[0], peers.clone())).map(|_| ()));
        connect(PAIR.config(1, &listeners[1], peers.clone())).unwrap();
        low.join().unwrap().unwrap();
    });
    let mut answer = Vec::new();
    // The answer may be cut off, since the listener does not read what follows a hello.
    drop(garbage.read_to_end(&mut answer));
    drop(silent);
}

#[test]
fn a_rank_that_does_not_join_is_named_after_the_timeout() {
    let listeners = listeners(3);
    let peers = addresses(&listeners);
    let world = World { size: 3, timeout: Duration::from_millis(100), ..PAIR };
    let error = connect(world.config(0, &listeners[0], peers.clone())).err().unwrap();
    assert!(matches!(&error, Error::ConnectTimeout { waiting_for } if *waiting_for == [1, 2]), "{error}");
    let error = connect(world.config(1, &listeners[1], peers)).err().unwrap();
    assert!(matches!(&error, Error::ConnectTimeout { waiting_for } if *waiting_for == [0]), "{error}");
}

#[test]
fn a_peer_whose_listener_is_gone_is_named() {
    let mut listeners = listeners(2);
    let peers = addresses(&listeners);
    drop(listeners.remove(0));
    let error = connect(PAIR.config(1, &listeners[0], peers.clone())).err().unwrap();
    assert!(matches!(error, Error::Connect { peer: 0, address, .. } if address == peers[0]), "{error}");
}

#[test]
fn an_abort_ends_a_pending_connect() {
    let listeners = listeners(2);
    let config = PAIR.config(0, &listeners[0], addresses(&listeners));
    let abort = config.abort.clone();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || connect(config).err().unwrap());
        abort.abort("drained");
        let error = waiting.join().unwrap();
        assert!(matches!(&error, Error::Aborted { reason } if reason == "drained"), "{error}");
    });
}

#[test]
fn a_configuration_that_cannot_be_is_refused_before_any_input_or_output() {
    let listeners = listeners(1);
    let peers = addresses(&listeners);
    let config = || World { size: 1, ..PAIR }.config(0, &listeners[0], peers.clone());
    let refused = |config: Config<'_>, name: &str| {
        let error = connect(config).err().unwrap();
        assert!(matches!(&error, Error::Argument { argument, .. } if *argument == name), "{error}");
    };
    refused(Config { rank: 1, ..config() }, "rank");
    refused(Config { world_size: 0, ..config() }, "rank");
    refused(Config { world_size: 2, ..config() }, "peers");
    refused(Config { job: "j".repeat(255), ..config() }, "job");
}

#[test]
fn a_group_is_boxed_and_moves_between_threads() {
    let listeners = listeners(1);
    let world = World { size: 1, ..PAIR };
    let mut group: Box<dyn Collective> =
        connect(world.config(0, &listeners[0], addresses(&listeners))).unwrap();
    std::thread::spawn(move || group.barrier()).join().unwrap().unwrap();
}
