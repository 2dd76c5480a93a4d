import java.io.File;
import java.util.Arrays;
import java.util.Locale;
import net.openhft.chronicle.bytes.Bytes;
import net.openhft.chronicle.queue.ChronicleQueue;
import net.openhft.chronicle.queue.ExcerptAppender;
import net.openhft.chronicle.queue.ExcerptTailer;
import net.openhft.chronicle.queue.impl.single.SingleChronicleQueueBuilder;

/**
 * Chronicle Queue in the scenarios of the log.
 *
 * <pre>LogPeer SCENARIO BYTES MILLISECONDS FOLDER      prints one line of JSON</pre>
 *
 * Each run is a process of its own: the scenario in short first, for the compiler, then the run that counts. The
 * records are a number, the intended time and a pattern; readers compare number, order and the sum of all bytes.
 */
public final class LogPeer {
    private static final int RATE = 1_000_000; // records per second
    private static final int BURST = 1 << 20; // bytes
    private static final int BURSTS = 32;

    private final int size;
    private final long nanos;
    private final ChronicleQueue queue;
    private final Bytes<?> record;
    private final long rest; // sum of a record without its number and its time
    private long next;

    private LogPeer(int size, long nanos, File folder) {
        this.size = size;
        this.nanos = nanos;
        queue = SingleChronicleQueueBuilder.binary(folder).build();
        record = Bytes.allocateDirect(size);
        record.writePosition(0);
        for (int i = 0; i < size; i++) {
            record.writeByte((byte) (i * 7 + 1));
        }
        record.writeLong(0, 0);
        record.writeLong(8, 0);
        rest = sum(record);
    }

    private long sum(Bytes<?> bytes) {
        long sum = 0;
        for (int at = 0; at < size; at += 8) {
            sum += bytes.readLong(at);
        }
        return sum;
    }

    private void append(ExcerptAppender appender, long due) {
        record.writeLong(0, next++);
        record.writeLong(8, due);
        record.readPosition(0);
        record.writePosition(size);
        appender.writeBytes(record);
    }

    /** A histogram of nanoseconds: exact below a millisecond, by 10 microseconds above it. */
    private static final class Histogram {
        private static final int EXACT = 1_000_000;
        private static final int STEP = 10_000;
        private final int[] fine = new int[EXACT];
        private final int[] coarse = new int[1_000_000];
        private long count;
        private long max;

        void add(long value) {
            long v = Math.max(value, 1);
            if (v < EXACT) {
                fine[(int) v]++;
            } else {
                coarse[(int) Math.min(v / STEP, coarse.length - 1)]++;
            }
            count++;
            max = Math.max(max, v);
        }

        double micros(double share) {
            long left = Math.max(1, (long) Math.ceil(share * count));
            for (int i = 0; i < EXACT; i++) {
                left -= fine[i];
                if (left <= 0) {
                    return i / 1e3;
                }
            }
            for (int i = 0; i < coarse.length; i++) {
                left -= coarse[i];
                if (left <= 0) {
                    return Math.min((i + 1) * (double) STEP, max) / 1e3;
                }
            }
            return max / 1e3;
        }

        String json() {
            StringBuilder curve = new StringBuilder();
            for (double p : new double[] {0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999,
                0.9995, 0.99975, 0.9999, 0.99995, 0.99999, 0.999999, 1}) {
                if (p < 1 && (1 - p) * count < 1) {
                    continue;
                }
                curve.append(curve.length() == 0 ? "" : ",")
                    .append(String.format(Locale.ROOT, "{\"p\":%s,\"us\":%.3f}", p, p == 1 ? max / 1e3 : micros(p)));
            }
            return String.format(Locale.ROOT,
                "\"latency_us\":{\"count\":%d,\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f},\"curve\":[%s]",
                count, micros(0.5), micros(0.99), micros(0.999), max / 1e3, curve);
        }
    }

    /** Bursts with rests between; the median of their rates. */
    private String bursts(long limit) throws InterruptedException {
        double[] rates = new double[BURSTS];
        int n = 0;
        try (ExcerptAppender appender = queue.createAppender()) {
            long end = System.nanoTime() + limit;
            while (n < BURSTS && (n < 5 || System.nanoTime() < end)) {
                int records = BURST / size;
                long start = System.nanoTime();
                for (int i = 0; i < records; i++) {
                    append(appender, 0);
                }
                rates[n++] = records * 1e9 / (System.nanoTime() - start);
                Thread.sleep(1);
            }
        }
        Arrays.sort(rates, 0, n);
        return String.format(Locale.ROOT, "{\"ops\":%d,\"rate\":%.1f}", n * (BURST / size), rates[n / 2]);
    }

    /** What the loop of paced takes when nothing is appended. */
    private static long idle() {
        Histogram h = new Histogram();
        long start = System.nanoTime();
        for (long i = 0; i < 50_000; i++) {
            long due = start + i * 1_000_000_000L / RATE;
            while (System.nanoTime() < due) {
                Thread.onSpinWait();
            }
            h.add(System.nanoTime() - due);
        }
        return (long) (h.micros(0.5) * 1e3);
    }

    private static String reached(long n, long took) {
        return String.format(Locale.ROOT, "\"more\":[{\"name\":\"rate reached, Chronicle Queue\",\"value\":%.1f,"
            + "\"unit\":\"records/s\",\"better\":\"higher\"}]", n * 1e9 / took);
    }

    /** Appends at the rate, from the intended time, net of the loop. */
    private String paced(long limit) {
        long idle = idle();
        Histogram h = new Histogram();
        long n = limit / (1_000_000_000L / RATE);
        long took;
        try (ExcerptAppender appender = queue.createAppender()) {
            long start = System.nanoTime();
            for (long i = 0; i < n; i++) {
                long due = start + i * 1_000_000_000L / RATE;
                while (System.nanoTime() < due) {
                    Thread.onSpinWait();
                }
                append(appender, due);
                h.add(System.nanoTime() - due - idle);
            }
            took = System.nanoTime() - start;
        }
        return String.format(Locale.ROOT, "{\"ops\":%d,%s,%s}", n, reached(n, took), h.json());
    }

    /** Writes in one thread at the rate, reads in another one. */
    private String handover(long limit) throws InterruptedException {
        long n = limit / (1_000_000_000L / RATE);
        long from = next;
        Histogram h = new Histogram();
        long[] wrong = new long[2]; // order, sum
        ExcerptTailer tailer = queue.createTailer().toEnd();
        Thread reader = new Thread(() -> {
            Bytes<?> got = Bytes.allocateElasticDirect(size);
            for (long i = 0; i < n;) {
                got.clear();
                if (!tailer.readBytes(got)) {
                    continue;
                }
                long due = got.readLong(8);
                if (got.readLong(0) != from + i) {
                    wrong[0]++;
                }
                if (got.readRemaining() != size || sum(got) - got.readLong(0) - due != rest) {
                    wrong[1]++;
                }
                h.add(System.nanoTime() - due);
                i++;
            }
        });
        tailer.singleThreadedCheckDisabled(true);
        reader.start();
        long took;
        try (ExcerptAppender appender = queue.createAppender()) {
            long start = System.nanoTime();
            for (long i = 0; i < n; i++) {
                long due = start + i * 1_000_000_000L / RATE;
                while (System.nanoTime() < due) {
                    Thread.onSpinWait();
                }
                append(appender, due);
            }
            took = System.nanoTime() - start;
        }
        reader.join();
        tailer.close();
        return String.format(Locale.ROOT, "{\"ops\":%d,\"reordered\":%d,\"sum_wrong\":%b,%s,%s}", n, wrong[0],
            wrong[1] > 0, reached(n, took), h.json());
    }

    /** Reads what fill wrote, from the start, again and again. */
    private String read(long limit) {
        long records = 0;
        long disorder = 0;
        boolean sumWrong = false;
        Bytes<?> got = Bytes.allocateElasticDirect(size);
        long start = System.nanoTime();
        do {
            try (ExcerptTailer tailer = queue.createTailer()) {
                long number = 0;
                for (got.clear(); tailer.readBytes(got); got.clear()) {
                    long n = got.readLong(0);
                    if (n != number++) {
                        disorder++;
                    }
                    sumWrong |= got.readRemaining() != size || sum(got) - n - got.readLong(8) != rest;
                    records++;
                }
                if (number != next) {
                    disorder++;
                }
            }
        } while (System.nanoTime() - start < limit);
        return String.format(Locale.ROOT, "{\"ops\":%d,\"rate\":%.1f,\"reordered\":%d,\"sum_wrong\":%b}", records,
            records * 1e9 / (System.nanoTime() - start), disorder, sumWrong);
    }

    private void fill(int records) {
        try (ExcerptAppender appender = queue.createAppender()) {
            for (int i = 0; i < records; i++) {
                append(appender, 0);
            }
        }
    }

    private String run(String scenario) throws InterruptedException {
        long warm = nanos < 50_000_000L ? nanos : 1_200_000_000L; // a short run only looks whether it works
        switch (scenario) {
            case "append":
                for (long end = System.nanoTime() + warm; System.nanoTime() < end;) {
                    bursts(nanos / 8);
                }
                return bursts(nanos);
            case "paced":
                paced(warm);
                return paced(nanos);
            case "handover":
                handover(warm);
                return handover(nanos);
            case "read":
                fill(256 << 10);
                read(warm);
                return read(nanos);
            default:
                throw new IllegalArgumentException("scenario " + scenario);
        }
    }

    public static void main(String[] args) throws InterruptedException {
        LogPeer peer = new LogPeer(Integer.parseInt(args[1]), Long.parseLong(args[2]) * 1_000_000L,
            new File(args[3]));
        String line = peer.run(args[0]);
        System.out.flush();
        System.out.println(line);
        System.out.flush();
        Runtime.getRuntime().halt(0); // threads of the queue's housekeeping would go on
    }
}
