// The ranks' shared memory: a file under /dev/shm named by the unique id, unlinked once all have joined.
//
// Each wait ends: by the peers, by an abort, by a peer's death, or by MUSTER_DOUBLE_NCCL_TIMEOUT (60 s).
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nccl.h"

namespace muster {
namespace {
constexpr long kNap = 5'000'000;

size_t round_up(size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

// True where the process is gone, or dead and not yet buried by its parent.
bool is_dead(int pid) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE* file = fopen(path, "r");
    if (file == nullptr) return true;
    const bool read = fgets(line, sizeof line, file) != nullptr;
    fclose(file);
    const char* end = read ? strrchr(line, ')') : nullptr;
    return end == nullptr || end[2] == 'Z' || end[2] == 'X';
}

double time_limit() {
    static const double limit = static_cast<double>(env_number("MUSTER_DOUBLE_NCCL_TIMEOUT", 60));
    return limit;
}

// Ends this process where MUSTER_DOUBLE_NCCL_KILL=RANK:MEETING plants that: in the middle of a collective.
void die_if_planted(int rank, unsigned meeting) {
    int victim = -1;
    unsigned when = 0;
    if (sscanf(env("MUSTER_DOUBLE_NCCL_KILL", ""), "%d:%u", &victim, &when) == 2 && victim == rank && when == meeting) raise(SIGKILL);
}

// As above for MUSTER_DOUBLE_NCCL_STALL: the rank stays where it is, alive, until it is aborted.
void stall_if_planted(int rank, unsigned meeting, const std::atomic<bool>& aborted) {
    int victim = -1;
    unsigned when = 0;
    if (sscanf(env("MUSTER_DOUBLE_NCCL_STALL", ""), "%d:%u", &victim, &when) != 2 || victim != rank || when != meeting) return;
    report(text("nccl: rank %d stalls", rank));
    std::atomic<unsigned> never{0};
    while (!aborted) sleep_on(never, 0);
    throw Broken{kNcclOk, "aborted", false};
}

bool deaths_hang() {
    static const bool hang = strcmp(env("MUSTER_DOUBLE_NCCL_DEATH", "error"), "hang") == 0;
    return hang;
}
}  // namespace

void wake(std::atomic<unsigned>& word) { syscall(SYS_futex, &word, FUTEX_WAKE, 1 << 30, nullptr, nullptr, 0); }

void sleep_on(std::atomic<unsigned>& word, unsigned value) {
    timespec nap{0, kNap};
    syscall(SYS_futex, &word, FUTEX_WAIT, value, &nap, nullptr, 0);
}

Shared::Shared(const UniqueId& id, int n_ranks, int rank) : n_ranks_(n_ranks), rank_(rank) {
    path_ = "/dev/shm/muster-double-nccl-";
    for (int idx = 0; idx < 16; idx++) path_ += text("%02x", static_cast<unsigned char>(id.bytes[idx]));
    const size_t slots = round_up(sizeof(Slot) * kMaxRanks);
    const size_t data = round_up(kChunk * static_cast<size_t>(n_ranks));
    size_ = slots + data + sizeof(Mailbox) * static_cast<size_t>(n_ranks) * static_cast<size_t>(n_ranks);
    const int file = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) throw Broken{kNcclSystem, "cannot open " + path_, false};
    // All ranks make it the same size, and new bytes are zero: there is nothing to initialize.
    const bool sized = ftruncate(file, static_cast<off_t>(size_)) == 0;
    at_ = sized ? mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
    close(file);
    if (at_ == MAP_FAILED) throw Broken{kNcclSystem, "cannot map " + path_, false};
    slots_ = static_cast<Slot*>(at_);
    data_ = static_cast<char*>(at_) + slots;
    mailboxes_ = reinterpret_cast<Mailbox*>(data_ + data);
}

Shared::~Shared() { munmap(at_, size_); }

void Shared::leave() { unlink(path_.c_str()); }

void Shared::check_peer(int other, const std::atomic<bool>& aborted, double since, const std::string& what) {
    Slot& peer = slots_[other];
    if (aborted) throw Broken{kNcclOk, "aborted", false};
    if (peer.aborted != 0) throw Broken{kNcclRemote, text("rank %d aborted while rank %d was in %s", other, rank_, what.c_str()), false};
    const int pid = peer.pid;
    if (pid != 0 && pid != getpid() && !deaths_hang() && is_dead(pid)) {
        throw Broken{kNcclRemote, text("rank %d (process %d) died while rank %d was in %s", other, pid, rank_, what.c_str()), false};
    }
    if (seconds() - since > time_limit()) {
        throw Broken{kNcclRemote, text("rank %d waited longer than %g s for rank %d in %s", rank_, time_limit(), other, what.c_str()), false};
    }
}

void Shared::join(int device, const std::atomic<bool>& aborted) {
    Slot& mine = slots_[rank_];
    int nobody = 0;
    if (!mine.pid.compare_exchange_strong(nobody, getpid())) {
        throw Broken{kNcclInvalidUsage, text("rank %d joins a communicator that has this rank already", rank_), true};
    }
    mine.n_ranks = n_ranks_;
    mine.device = device + 1;
    mine.joined = 1;
    wake(mine.joined);
    const double since = seconds();
    for (int other = 0; other < n_ranks_; other++) {
        while (slots_[other].joined == 0) {
            check_peer(other, aborted, since, "CommInitRank");
            sleep_on(slots_[other].joined, 0);
        }
    }
    const bool shared_devices = env_number("MUSTER_DOUBLE_NCCL_SHARED_DEVICE", 0) != 0;
    for (int other = 0; other < n_ranks_; other++) {
        if (slots_[other].n_ranks != n_ranks_) {
            throw Broken{kNcclInvalidUsage, text("ranks disagree: rank %d joins %d ranks, rank %d joins %d", rank_, n_ranks_, other, slots_[other].n_ranks.load()), true};
        }
        if (other != rank_ && slots_[other].device == mine.device && !shared_devices) {
            throw Broken{kNcclInvalidUsage, text("duplicate GPU: ranks %d and %d are both on device %d", rank_, other, device), true};
        }
    }
}

void Shared::meet(const std::atomic<bool>& aborted, const std::string& what) {
    Slot& mine = slots_[rank_];
    const unsigned target = ++arrivals_;
    die_if_planted(rank_, target);
    stall_if_planted(rank_, target, aborted);
    mine.arrived = target;
    wake(mine.arrived);
    const double since = seconds();
    for (int other = 0; other < n_ranks_; other++) {
        for (unsigned seen = slots_[other].arrived; static_cast<int>(seen - target) < 0; seen = slots_[other].arrived) {
            check_peer(other, aborted, since, what);
            sleep_on(slots_[other].arrived, seen);
        }
    }
}

}  // namespace muster
