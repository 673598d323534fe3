import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** As server.py, on a Selector: {@code WORK loop|thread own}. The JDK has no parser of JSON. Called by run.py. */
public final class Server {
    static final int WORK_MS = 50;
    static volatile long sink;

    static long own(long rounds) {
        long total = 0;
        for (long number = 0; number < rounds; number++) {
            total += number * number % 7;
        }
        return total;
    }

    static long calibrated() {
        long rounds = 1_000_000;
        for (int round = 0; round < 20; round++) {
            long began = System.nanoTime();
            sink = own(rounds);
            double took = (System.nanoTime() - began) / 1e6;
            rounds = Math.max(1, (long) (rounds * WORK_MS / Math.max(took, 0.01)));
        }
        return rounds;
    }

    public static void main(String[] arguments) throws IOException {
        long rounds = calibrated();
        ExecutorService threads = Executors.newFixedThreadPool(2);
        Queue<Runnable> mail = new ConcurrentLinkedQueue<>();
        Selector selector = Selector.open();
        ServerSocketChannel listener = ServerSocketChannel.open();
        listener.bind(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])));
        listener.configureBlocking(false);
        listener.register(selector, SelectionKey.OP_ACCEPT);
        System.err.println("ready");
        ByteBuffer scratch = ByteBuffer.allocate(65536);
        while (true) {
            selector.select();
            for (Iterator<SelectionKey> keys = selector.selectedKeys().iterator(); keys.hasNext(); ) {
                SelectionKey key = keys.next();
                keys.remove();
                if (key.isAcceptable()) {
                    SocketChannel accepted = listener.accept();
                    accepted.configureBlocking(false);
                    accepted.setOption(java.net.StandardSocketOptions.TCP_NODELAY, true);
                    accepted.register(selector, SelectionKey.OP_READ, new StringBuilder());
                    continue;
                }
                SocketChannel channel = (SocketChannel) key.channel();
                StringBuilder partial = (StringBuilder) key.attachment();
                if (channel.read(scratch.clear()) < 0) {
                    channel.close();
                    continue;
                }
                partial.append(StandardCharsets.ISO_8859_1.decode(scratch.flip()));
                for (int end; (end = partial.indexOf("\n")) >= 0; partial.delete(0, end + 1)) {
                    String line = partial.substring(0, end);
                    if (!line.startsWith("WORK ")) {
                        say(channel, "ok\n");
                    } else if (line.startsWith("WORK loop")) {
                        sink = own(rounds);
                        say(channel, "done\n");
                    } else {
                        threads.execute(() -> {
                            sink = own(rounds);
                            mail.add(() -> say(channel, "done\n"));
                            selector.wakeup();
                        });
                    }
                }
            }
            for (Runnable letter; (letter = mail.poll()) != null; ) {
                letter.run();
            }
        }
    }

    static void say(SocketChannel channel, String text) {
        try {
            channel.write(ByteBuffer.wrap(text.getBytes(StandardCharsets.ISO_8859_1)));
        } catch (IOException gone) {
            // its key tells so
        }
    }
}
