// Volatile accesses under TSan: they are how blocks talk through memory, so they are not taken as races.
#if defined(MUSTER_TSAN)
#define MUSTER_VOLATILE(N)                                        \
    void __tsan_volatile_read##N(void*) {}                        \
    void __tsan_volatile_write##N(void*) {}                       \
    void __tsan_unaligned_volatile_read##N(void*) {}              \
    void __tsan_unaligned_volatile_write##N(void*) {}
extern "C" {
MUSTER_VOLATILE(1)
MUSTER_VOLATILE(2)
MUSTER_VOLATILE(4)
MUSTER_VOLATILE(8)
MUSTER_VOLATILE(16)
}
#endif
