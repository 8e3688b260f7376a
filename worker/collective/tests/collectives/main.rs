//! The collectives from outside: one suite, run on every transport, and what concerns the joining alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers as well")]

mod agreement;
mod failures;
mod joining;
mod laws;
mod messages;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod silence;
mod sums;
mod world;

/// Makes a module with a test of each function, run on worlds of several sizes.
macro_rules! suite {
    ($name:ident, $transport:expr, $sizes:expr; $($module:ident: $($test:ident)*;)*) => {
        mod $name {
            $($(
                #[test]
                fn $test() {
                    for size in $sizes {
                        crate::$module::$test(crate::world::World::new($transport, size));
                    }
                }
            )*)*
        }
    };
}

/// What holds for any number of ranks, one included.
macro_rules! results {
    ($name:ident, $transport:expr, $sizes:expr) => {
        suite! { $name, $transport, $sizes;
            messages:
                all_to_all_delivers_uneven_and_empty_messages
                all_to_all_delivers_from_one_rank_only
                all_gather_delivers_uneven_and_empty_messages
                broadcast_delivers_from_every_root
                nobody_leaves_a_barrier_before_all_have_come
                every_element_type_travels;
            sums:
                all_reduce_adds_in_rank_order
                reduce_scatter_gives_each_rank_its_segment
                a_tree_sum_has_the_bits_of_one_process
                ranks_without_leaves_get_the_sum
                any_number_of_roots_is_taken
                a_tree_without_leaves_sums_to_zero
                missing_and_repeated_leaves_are_an_error_on_all_ranks;
            failures:
                an_abort_before_a_call_ends_it_at_once;
        }
    };
}

/// What can go wrong between ranks.
macro_rules! faults {
    ($name:ident, $transport:expr, $sizes:expr) => {
        suite! { $name, $transport, $sizes;
            agreement:
                a_different_operation_is_a_mismatch_on_all_ranks
                a_different_element_type_is_a_mismatch_on_all_ranks
                a_different_shape_is_a_mismatch_on_all_ranks
                a_different_tree_or_root_is_a_mismatch_on_all_ranks
                a_rank_that_skipped_a_call_is_a_mismatch_on_all_ranks;
            failures:
                an_abort_ends_a_pending_call_and_every_later_one
                a_lost_rank_is_noticed_by_all_others
                ranks_that_finish_early_are_not_lost
                a_rank_that_does_not_come_is_a_timeout_that_names_it
                all_ranks_that_do_not_come_are_named
                a_message_over_the_bound_is_refused_by_its_sender
                a_message_that_is_no_whole_number_of_elements_is_refused;
        }
    };
}

results!(solo, muster_collective::Transport::Auto, [1]);
results!(tcp, muster_collective::Transport::Tcp, [2, 3, 4]);
faults!(tcp_faults, muster_collective::Transport::Tcp, [2, 3, 4]);
#[cfg(target_os = "linux")]
results!(shm, muster_collective::Transport::Shm, [2, 3, 4]);
#[cfg(target_os = "linux")]
faults!(shm_faults, muster_collective::Transport::Shm, [2, 3, 4]);
