//! Tasks on threads, and ranks that share cores.

/// The cores of a machine, and the ranks and threads on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    pub(super) cores: f64,
    pub(super) threads: usize,
}

impl Machine {
    /// How many threads compute at the same time, where each rank has so many tasks.
    pub(super) fn busy(&self, tasks: impl Iterator<Item = usize>) -> f64 {
        let threads: usize = tasks.map(|tasks| tasks.min(self.threads)).sum();
        (threads as f64).clamp(1.0, self.cores)
    }

    /// Seconds until all ranks have done their tasks, whose times are those with all cores busy.
    ///
    /// A rank's threads take its tasks in order, the next free thread the next task. Where there are more threads than cores,
    /// what ranks compute adds up.
    pub(super) fn seconds(&self, ranks: &[Vec<f64>]) -> f64 {
        let alone = ranks.iter().map(|tasks| self.makespan(tasks)).fold(0.0, f64::max);
        let threads: usize = ranks.iter().map(|tasks| tasks.len().min(self.threads)).sum();
        if threads as f64 <= self.cores {
            return alone;
        }
        let all: f64 = ranks.iter().flatten().sum();
        alone.max(all / self.cores)
    }

    fn makespan(&self, tasks: &[f64]) -> f64 {
        let mut threads = vec![0.0_f64; self.threads.max(1)];
        for task in tasks {
            let free = threads.iter_mut().min_by(|a, b| a.total_cmp(b));
            if let Some(free) = free {
                *free += task;
            }
        }
        threads.into_iter().fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_with_a_core_each_take_as_long_as_the_slowest() {
        let machine = Machine { cores: 2.0, threads: 1 };
        assert_eq!(machine.seconds(&[vec![1.0, 2.0], vec![2.0, 2.0]]), 4.0);
        assert_eq!(Machine { threads: 2, ..machine }.seconds(&[vec![3.0, 1.0, 1.0]]), 3.0);
    }

    #[test]
    fn what_ranks_compute_that_share_cores_adds_up() {
        let machine = Machine { cores: 2.0, threads: 1 };
        assert_eq!(machine.seconds(&vec![vec![1.0, 1.0]; 4]), 4.0);
        // One rank cannot use more than its threads.
        assert_eq!(machine.seconds(&[vec![9.0], vec![], vec![1.0], vec![1.0]]), 9.0);
        assert_eq!(machine.busy([2, 0, 1].into_iter()), 2.0);
    }
}
