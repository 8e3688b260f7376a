/* Times MPI_Allreduce of float32 sums, as all_reduce.rs times ours: in place, the slowest rank's time. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    int rank, size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (int arg = 1; arg < argc; arg++) {
        long bytes = atol(argv[arg]);
        long calls = (128L << 20) / bytes;
        calls = calls < 3 ? 3 : calls > 2000 ? 2000 : calls;
        float *data = malloc(bytes);
        memset(data, 0, bytes);
        double started = 0;
        for (long call = -(calls < 5 ? calls : 5); call < calls; call++) {
            if (call == 0) {
                MPI_Barrier(MPI_COMM_WORLD);
                started = MPI_Wtime();
            }
            MPI_Allreduce(MPI_IN_PLACE, data, bytes / sizeof(float), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        }
        double mine = (MPI_Wtime() - started) / calls, slowest;
        MPI_Reduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
        if (rank == 0)
            printf("{\"op\":\"all_reduce\",\"n\":%d,\"bytes\":%ld,\"seconds\":%.3e,\"gb_per_s\":%.3f}\n", size, bytes,
                   slowest, bytes / slowest / 1e9);
        free(data);
    }
    MPI_Finalize();
    return 0;
}
