import com.lmax.disruptor.BatchEventProcessor;
import com.lmax.disruptor.BatchEventProcessorBuilder;
import com.lmax.disruptor.BusySpinWaitStrategy;
import com.lmax.disruptor.EventFactory;
import com.lmax.disruptor.EventHandler;
import com.lmax.disruptor.RingBuffer;
import com.lmax.disruptor.Sequence;
import com.lmax.disruptor.WaitStrategy;
import com.lmax.disruptor.YieldingWaitStrategy;
import com.lmax.disruptor.util.DaemonThreadFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;

/**
 * The LMAX Disruptor in the scenarios of the ring.
 *
 * <pre>RingPeer SCENARIO MILLISECONDS      prints one line of JSON</pre>
 *
 * Each scenario runs in a process of its own: shorter runs first, for the compiler and to learn the rate,
 * then the one that counts. Throughput waits with YieldingWaitStrategy, the hop with BusySpinWaitStrategy,
 * as the Disruptor's own performance tests do.
 */
public final class RingPeer {
    private static final int SLOTS = 1 << 16;
    private static final int HOP_SLOTS = 1024;
    private static final int PRODUCERS = 3;
    private static final int PRODUCER_BITS = 2;

    /** A message of 8 bytes. */
    static final class Word {
        long a;
    }

    /** A message of 64 bytes. */
    static final class Event {
        long a, b, c, d, e, f, g, h;

        void fill(long v) {
            a = v;
            b = v;
            c = v;
            d = v;
            e = v;
            f = v;
            g = v;
            h = v;
        }

        long sum() {
            return a + b + c + d + e + f + g + h;
        }
    }

    /** What a consumer saw. */
    abstract static class Tally<T> implements EventHandler<T> {
        long next;
        long sum;
        long wrong;
        private final long last;
        private final CountDownLatch done;

        Tally(long n, CountDownLatch done) {
            this.last = n - 1;
            this.done = done;
        }

        abstract void see(T message);

        @Override
        public void onEvent(T message, long sequence, boolean endOfBatch) {
            see(message);
            if (sequence == last) {
                done.countDown();
            }
        }

        final void count(long number, long bytes) {
            wrong |= number ^ next;
            next++;
            sum += bytes;
        }

        void check(long n, long perMessage, long extra) {
            expect(next, n, "messages");
            expect(wrong, 0, "messages out of order");
            expect(sum, perMessage * triangle(n) + extra * n, "sum");
        }
    }

    static final class Words extends Tally<Word> {
        Words(long n, CountDownLatch done) {
            super(n, done);
        }

        @Override
        void see(Word m) {
            count(m.a, m.a);
        }
    }

    static final class Reader extends Tally<Event> {
        Reader(long n, CountDownLatch done) {
            super(n, done);
        }

        @Override
        void see(Event m) {
            count(m.a, m.sum());
        }
    }

    static final class SharedReader extends Tally<Event> {
        private final long[] nextOf = new long[1 << PRODUCER_BITS];

        SharedReader(long n, CountDownLatch done) {
            super(n, done);
        }

        @Override
        void see(Event m) {
            int of = (int) m.a & ((1 << PRODUCER_BITS) - 1);
            wrong |= (m.a >> PRODUCER_BITS) ^ nextOf[of];
            nextOf[of]++;
            next++;
            sum += m.sum();
        }

        void checkShared(long n) {
            long each = n / PRODUCERS;
            long want = 0;
            for (int producer = 0; producer < PRODUCERS; producer++) {
                expect(nextOf[producer], each, "messages of one producer");
                want += 8 * ((triangle(each) << PRODUCER_BITS) + each * producer);
            }
            expect(next, n, "messages");
            expect(wrong, 0, "messages out of order");
            expect(sum, want, "sum");
        }
    }

    static final class PipelineFirst extends Tally<Event> {
        PipelineFirst(long n, CountDownLatch done) {
            super(n, done);
        }

        @Override
        void see(Event m) {
            count(m.a, m.sum());
            m.b = m.a + 1;
        }
    }

    static final class PipelineSecond extends Tally<Event> {
        PipelineSecond(long n, CountDownLatch done) {
            super(n, done);
        }

        @Override
        void see(Event m) {
            count(m.a, m.sum());
            m.c = m.b + 1;
        }
    }

    static final class DiamondLeft extends Tally<Event> {
        DiamondLeft(long n, CountDownLatch done) {
            super(n, done);
        }

        @Override
        void see(Event m) {
            count(m.a, m.a + m.b + m.d + m.e + m.f + m.g + m.h);
            m.b = m.a + 1;
        }
    }

    static final class DiamondRight extends Tally<Event> {
        DiamondRight(long n, CountDownLatch done) {
            super(n, done);
        }

        @Override
        void see(Event m) {
            count(m.a, m.a + m.c + m.d + m.e + m.f + m.g + m.h);
            m.c = m.a + 1;
        }
    }

    /** What one run measured. */
    static final class Result {
        final long messages;
        final long nanos;
        final long[] trips; // sorted, of the hop only

        Result(long messages, long nanos, long... trips) {
            this.messages = messages;
            this.nanos = nanos;
            this.trips = trips;
        }

        /** Half of a round trip in microseconds. */
        double half(long thousandths) {
            return trips[(int) ((trips.length - 1) * thousandths / 1000)] / 2e3;
        }

        void print() {
            String latency = trips.length == 0 ? "" : String.format(Locale.ROOT,
                    ",\"latency_us\":{\"count\":%d,\"p50\":%.4f,\"p99\":%.4f,\"p999\":%.4f,\"max\":%.4f}",
                    messages, half(500), half(990), half(999), half(1000));
            System.out.printf(Locale.ROOT, "{\"ops\":%d,\"rate\":%.0f%s}%n",
                    messages, messages * 1e9 / nanos, latency);
        }
    }

    interface Scenario {
        Result run(long n) throws Exception;
    }

    static long triangle(long n) {
        return n * (n - 1) / 2;
    }

    static void expect(long got, long want, String what) {
        if (got != want) {
            System.err.println("RingPeer: " + what + ": " + got + ", want " + want);
            System.exit(1);
        }
    }

    static <T> RingBuffer<T> ring(EventFactory<T> factory) {
        return RingBuffer.createSingleProducer(factory, SLOTS, new YieldingWaitStrategy());
    }

    static <T> BatchEventProcessor<T> consumer(RingBuffer<T> ring, EventHandler<T> handler, Sequence... after) {
        return new BatchEventProcessorBuilder().build(ring, ring.newBarrier(after), handler);
    }

    static void start(Runnable... runnables) {
        for (Runnable r : runnables) {
            DaemonThreadFactory.INSTANCE.newThread(r).start();
        }
    }

    static Result words(long n, int batch) throws Exception {
        RingBuffer<Word> ring = ring(Word::new);
        CountDownLatch done = new CountDownLatch(1);
        Words tally = new Words(n, done);
        BatchEventProcessor<Word> consumer = consumer(ring, tally);
        ring.addGatingSequences(consumer.getSequence());
        start(consumer);
        long began = System.nanoTime();
        for (long i = 0; i < n; i += batch) {
            long hi = batch == 1 ? ring.next() : ring.next(batch);
            for (long at = hi - batch + 1; at <= hi; at++) {
                ring.get(at).a = at;
            }
            publish(ring, hi, batch);
        }
        done.await();
        long nanos = System.nanoTime() - began;
        consumer.halt();
        tally.check(n, 1, 0);
        return new Result(n, nanos);
    }

    static void publish(RingBuffer<?> ring, long hi, int batch) {
        if (batch == 1) {
            ring.publish(hi);
        } else {
            ring.publish(hi - batch + 1, hi);
        }
    }

    static void produce(RingBuffer<Event> ring, long n, int batch) {
        for (long i = 0; i < n; i += batch) {
            long hi = batch == 1 ? ring.next() : ring.next(batch);
            for (long at = hi - batch + 1; at <= hi; at++) {
                ring.get(at).fill(at);
            }
            publish(ring, hi, batch);
        }
    }

    static void produceShared(RingBuffer<Event> ring, int producer, long n, int batch) {
        for (long i = 0; i < n;) {
            long hi = batch == 1 ? ring.next() : ring.next(batch);
            for (long at = hi - batch + 1; at <= hi; at++) {
                ring.get(at).fill(i++ << PRODUCER_BITS | producer);
            }
            publish(ring, hi, batch);
        }
    }

    static Result shared(long n, int batch) throws Exception {
        RingBuffer<Event> ring = RingBuffer.createMultiProducer(Event::new, SLOTS, new YieldingWaitStrategy());
        CountDownLatch done = new CountDownLatch(1);
        SharedReader tally = new SharedReader(n, done);
        BatchEventProcessor<Event> consumer = consumer(ring, tally);
        ring.addGatingSequences(consumer.getSequence());
        start(consumer);
        long began = System.nanoTime();
        for (int i = 1; i < PRODUCERS; i++) {
            int producer = i;
            start(() -> produceShared(ring, producer, n / PRODUCERS, batch));
        }
        produceShared(ring, 0, n / PRODUCERS, batch);
        done.await();
        long nanos = System.nanoTime() - began;
        consumer.halt();
        tally.checkShared(n);
        return new Result(n, nanos);
    }

    /** A graph of consumers; the ring waits for those that nothing waits for. */
    static Result graph(String kind, long n, int batch) throws Exception {
        RingBuffer<Event> ring = ring(Event::new);
        List<BatchEventProcessor<Event>> all = new ArrayList<>();
        List<Tally<Event>> tallies = new ArrayList<>();
        CountDownLatch done = new CountDownLatch(3);
        long[][] sums;
        switch (kind) {
            case "1p3c":
                for (int i = 0; i < 3; i++) {
                    tallies.add(new Reader(n, done));
                    all.add(consumer(ring, tallies.get(i)));
                    ring.addGatingSequences(all.get(i).getSequence());
                }
                sums = new long[][] {{8, 0}, {8, 0}, {8, 0}};
                break;
            case "pipeline":
                tallies.addAll(List.of(new PipelineFirst(n, done), new PipelineSecond(n, done), new Reader(n, done)));
                all.add(consumer(ring, tallies.get(0)));
                all.add(consumer(ring, tallies.get(1), all.get(0).getSequence()));
                all.add(consumer(ring, tallies.get(2), all.get(1).getSequence()));
                ring.addGatingSequences(all.get(2).getSequence());
                sums = new long[][] {{8, 0}, {8, 1}, {8, 3}};
                break;
            default: // diamond
                tallies.addAll(List.of(new DiamondLeft(n, done), new DiamondRight(n, done), new Reader(n, done)));
                all.add(consumer(ring, tallies.get(0)));
                all.add(consumer(ring, tallies.get(1)));
                all.add(consumer(ring, tallies.get(2), all.get(0).getSequence(), all.get(1).getSequence()));
                ring.addGatingSequences(all.get(2).getSequence());
                sums = new long[][] {{7, 0}, {7, 0}, {8, 2}};
        }
        start(all.toArray(new Runnable[0]));
        long began = System.nanoTime();
        produce(ring, n, batch);
        done.await();
        long nanos = System.nanoTime() - began;
        for (int i = 0; i < all.size(); i++) {
            all.get(i).halt();
            tallies.get(i).check(n, sums[i][0], sums[i][1]);
        }
        return new Result(n, nanos);
    }

    static Result events(long n, int batch) throws Exception {
        RingBuffer<Event> ring = ring(Event::new);
        CountDownLatch done = new CountDownLatch(1);
        Reader tally = new Reader(n, done);
        BatchEventProcessor<Event> consumer = consumer(ring, tally);
        ring.addGatingSequences(consumer.getSequence());
        start(consumer);
        long began = System.nanoTime();
        produce(ring, n, batch);
        done.await();
        long nanos = System.nanoTime() - began;
        consumer.halt();
        tally.check(n, 8, 0);
        return new Result(n, nanos);
    }

    /** Half a round trip holds half a look at the clock, about 12 ns. */
    static Result hop(long n, boolean whole) throws Exception {
        WaitStrategy spin = new BusySpinWaitStrategy();
        RingBuffer<Event> there = RingBuffer.createSingleProducer(Event::new, HOP_SLOTS, spin);
        RingBuffer<Event> back = RingBuffer.createSingleProducer(Event::new, HOP_SLOTS, spin);
        long[] trips = new long[(int) n];
        CountDownLatch done = new CountDownLatch(1);
        BatchEventProcessor<Event> pong = consumer(there, (m, sequence, end) -> {
            long at = back.next();
            if (whole) {
                back.get(at).fill(m.sum() >> 3);
            } else {
                back.get(at).a = m.a;
            }
            back.publish(at);
        });
        there.addGatingSequences(pong.getSequence());
        long[] sent = new long[1];
        Ping ping = new Ping(there, trips, sent, whole, done);
        BatchEventProcessor<Event> pinger = consumer(back, ping);
        back.addGatingSequences(pinger.getSequence());
        start(pong);
        long began = System.nanoTime();
        ping.send(0);
        start(pinger);
        done.await();
        long nanos = System.nanoTime() - began;
        pong.halt();
        pinger.halt();
        expect(ping.wrong, 0, "messages out of order");
        Arrays.sort(trips);
        return new Result(n, nanos, trips);
    }

    static final class Ping implements EventHandler<Event> {
        private final RingBuffer<Event> there;
        private final long[] trips;
        private final long[] sent;
        private final boolean whole;
        private final CountDownLatch done;
        private int next;
        long wrong;

        Ping(RingBuffer<Event> there, long[] trips, long[] sent, boolean whole, CountDownLatch done) {
            this.there = there;
            this.trips = trips;
            this.sent = sent;
            this.whole = whole;
            this.done = done;
        }

        void send(long v) {
            sent[0] = System.nanoTime();
            long at = there.next();
            if (whole) {
                there.get(at).fill(v);
            } else {
                there.get(at).a = v;
            }
            there.publish(at);
        }

        @Override
        public void onEvent(Event m, long sequence, boolean endOfBatch) {
            wrong |= whole ? m.sum() - 8L * next : m.a ^ next;
            trips[next++] = System.nanoTime() - sent[0];
            if (next < trips.length) {
                send(next);
            } else {
                done.countDown();
            }
        }
    }

    static Scenario scenario(String name) {
        int batch = name.endsWith("-b16") ? 16 : 1;
        String kind = name.replace("-b16", "");
        switch (kind) {
            case "hop-8":
                return n -> hop(n, false);
            case "hop-64":
                return n -> hop(n, true);
            case "1p1c-8":
                return n -> words(n, batch);
            case "1p1c-64":
                return n -> events(n, batch);
            case "3p1c-64":
                return n -> shared(n, batch);
            case "1p3c-64":
            case "pipeline-64":
            case "diamond-64":
                return n -> graph(kind.replace("-64", ""), n, batch);
            default:
                return null;
        }
    }

    static long scaled(long n, double factor, long step) {
        return Math.max(1, (long) (n * factor / step)) * step;
    }

    public static void main(String[] arguments) throws Exception {
        Scenario scenario = scenario(arguments[0]);
        double target = Double.parseDouble(arguments[1]) * 1e6;
        if (scenario == null) {
            System.err.println("RingPeer: no scenario " + arguments[0]);
            System.exit(1);
        }
        final long step = 48; // of every batch and every number of producers
        long n = (arguments[0].startsWith("hop") ? 10_000 : 200_000) / step * step;
        Result r = scenario.run(n);
        for (int i = 0; i < 4 && r.nanos < 2 * target; i++) { // the compiler is done by then
            n = scaled(n, Math.min(8, target / 3 / r.nanos), step);
            r = scenario.run(n);
        }
        n = scaled(n, target / r.nanos, step);
        System.gc();
        scenario.run(n).print();
    }
}
