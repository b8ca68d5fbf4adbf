// An event server of the generic contract, for tests. ../README.md describes its flags, lines and payloads.

import generic.EventingGrpc;
import generic.Generic;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.TlsServerCredentials;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.zip.CRC32;
import com.google.protobuf.ByteString;

public final class Server extends EventingGrpc.EventingImplBase {
  static final Set<String> STREAM_FLAGS = Set.of("count", "first", "size", "rate", "burst", "close-after", "status",
      "oversize-at", "oversize-size", "json", "binary", "resume", "early-headers");
  static final Set<String> SERVER_FLAGS = Set.of("port", "id", "token", "tls-cert", "tls-key", "tls-ca");
  static final Context.Key<String> AUTHORIZATION = Context.key("authorization");
  static final Context.Key<String> AGENT = Context.key("agent");
  static final Context.Key<String> PEER = Context.key("peer");

  final Map<String, String> flags;
  final String id;
  final AtomicLong streams = new AtomicLong();
  final AtomicLong next;

  Server(Map<String, String> flags) {
    this.flags = flags;
    id = flags.getOrDefault("id", Long.toHexString(Double.doubleToLongBits(Math.random())));
    next = new AtomicLong(number(flags, "first", 0));
  }

  static long number(Map<String, String> flags, String name, long otherwise) {
    return flags.containsKey(name) ? Long.parseLong(flags.get(name)) : otherwise;
  }

  static String hex(byte[] bytes) {
    return HexFormat.of().formatHex(bytes);
  }

  static String hex(String text) {
    return text == null ? "" : hex(text.getBytes(StandardCharsets.ISO_8859_1));
  }

  static synchronized void say(String line) {
    System.out.println(line);
    System.out.flush();
  }

  // Words "key=value" of the config over the flags; other words are left alone.
  Map<String, String> withConfig(ByteString config) {
    Map<String, String> out = new HashMap<>(flags);
    for (String word : config.toString(StandardCharsets.ISO_8859_1).split("[\\s,]+")) {
      String[] pair = word.split("=", 2);
      if (STREAM_FLAGS.contains(pair[0])) out.put(pair[0], pair.length > 1 ? pair[1] : "true");
    }
    return out;
  }

  @Override
  public void startEventSource(Generic.EventSource request, StreamObserver<Generic.Event> observer) {
    long stream = streams.incrementAndGet();
    String authorization = AUTHORIZATION.get();
    say("STREAM " + stream + " name=" + hex(request.getNameBytes().toByteArray()) + " config="
        + hex(request.getConfig().toByteArray()) + " authorization=" + hex(authorization) + " agent="
        + hex(AGENT.get()) + " peer=" + PEER.get());
    if (flags.containsKey("token") && !("Bearer " + flags.get("token")).equals(authorization)) {
      say("END " + stream + " sent=0 bytes=0");
      observer.onError(Status.UNAUTHENTICATED.withDescription("wrong or no bearer token").asException());
      return;
    }
    new Stream(stream, withConfig(request.getConfig()), request.getName(),
        (ServerCallStreamObserver<Generic.Event>) observer).begin();
  }

  final class Stream {
    final long stream;
    final Map<String, String> flags;
    final String name;
    final ServerCallStreamObserver<Generic.Event> observer;
    final Semaphore changed = new Semaphore(0);
    long sent, bytes;

    Stream(long stream, Map<String, String> flags, String name, ServerCallStreamObserver<Generic.Event> observer) {
      this.stream = stream;
      this.flags = flags;
      this.name = name;
      this.observer = observer;
    }

    // The call's own thread has to return before gRPC says that there is room.
    void begin() {
      observer.setOnReadyHandler(changed::release);
      observer.setOnCancelHandler(changed::release);
      Thread thread = new Thread(this::run, "stream-" + stream);
      thread.setDaemon(true);
      thread.start();
    }

    void run() {
      long number = flags.containsKey("resume") ? next.get() : number(flags, "first", 0);
      try {
        number = send(number);
        // Before the client can know, and come again.
        next.set(number);
        if (!observer.isCancelled()) end();
      } catch (InterruptedException | RuntimeException gone) {
        next.set(number + sent);
      }
      say("END " + stream + " sent=" + sent + " bytes=" + bytes);
    }

    long send(long number) throws InterruptedException {
      long count = number(flags, "count", 0), closeAfter = number(flags, "close-after", Long.MAX_VALUE);
      double rate = Double.parseDouble(flags.getOrDefault("rate", "0"));
      long burst = number(flags, "burst", 1), start = System.nanoTime();
      while (sent < closeAfter) {
        if (count > 0 && sent == count) {
          while (!observer.isCancelled()) changed.acquire();
        }
        while (rate > 0 && !observer.isCancelled()) {
          long due = start + (long) ((sent / burst) * burst / rate * 1e9) - System.nanoTime();
          if (due <= 0) break;
          changed.tryAcquire(due, TimeUnit.NANOSECONDS);
        }
        while (!observer.isReady() && !observer.isCancelled()) changed.acquire();
        if (observer.isCancelled()) return number;
        byte[] payload = payload(number);
        observer.onNext(Generic.Event.newBuilder().setName(name).setPayload(ByteString.copyFrom(payload)).build());
        ++sent;
        ++number;
        bytes += payload.length;
      }
      return number;
    }

    void end() {
      String code = flags.getOrDefault("status", "OK");
      Status status = code.matches("\\d+") ? Status.fromCodeValue(Integer.parseInt(code))
          : Status.fromCode(Status.Code.valueOf(code));
      if (status.isOk()) {
        observer.onCompleted();
      } else {
        observer.onError(status.withDescription("as --status says").asException());
      }
    }

    byte[] payload(long number) {
      int size = (int) number(flags, "size", 256);
      if (number == number(flags, "oversize-at", -1)) size = (int) number(flags, "oversize-size", 5 << 20);
      if (size == 0) return new byte[0];
      String from = id + "-" + stream;
      return flags.containsKey("binary") ? binary(number, from, size) : json(number, from, size);
    }
  }

  static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  static byte[] json(long number, String from, int size) {
    String head = "{\"seq\":" + number + ",\"stream\":\"" + from + "\",\"crc\":\"", middle = "\",\"pad\":\"";
    byte[] pad = new byte[Math.max(0, size - head.length() - 8 - middle.length() - 2)];
    for (int i = 0; i < pad.length; ++i) pad[i] = (byte) ('a' + (number + i) % 26);
    CRC32 crc = new CRC32();
    crc.update(ascii(number + ":" + from + ":"));
    crc.update(pad);
    ByteArrayOutputStream out = new ByteArrayOutputStream(size);
    out.writeBytes(ascii(head + String.format("%08x", crc.getValue()) + middle));
    out.writeBytes(pad);
    out.writeBytes(ascii("\"}"));
    return out.toByteArray();
  }

  static byte[] binary(long number, String from, int size) {
    byte[] name = ascii(from + "\0");
    byte[] out = new byte[Math.max(size, 12 + name.length)];
    ByteBuffer.wrap(out).putLong(number);
    System.arraycopy(name, 0, out, 12, name.length);
    for (int i = 12 + name.length; i < out.length; ++i) out[i] = (byte) (number + i - 12 - name.length);
    CRC32 crc = new CRC32();
    crc.update(out, 0, 8);
    crc.update(out, 12, out.length - 12);
    ByteBuffer.wrap(out).putInt(8, (int) crc.getValue());
    return out;
  }

  // What the service itself is not told of a call.
  static final class Caller implements ServerInterceptor {
    static String header(Metadata headers, String name) {
      return headers.get(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER));
    }

    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(ServerCall<Q, A> call, Metadata headers,
        ServerCallHandler<Q, A> handler) {
      Context context = Context.current().withValue(AUTHORIZATION, header(headers, "authorization"))
          .withValue(AGENT, header(headers, "user-agent"))
          .withValue(PEER, String.valueOf(call.getAttributes().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR)));
      return Contexts.interceptCall(context, call, headers, handler);
    }
  }

  static Map<String, String> parse(String[] arguments) {
    Map<String, String> flags = new HashMap<>();
    for (int i = 0; i < arguments.length; ++i) {
      String[] pair = arguments[i].replaceFirst("^--", "").split("=", 2);
      if (!STREAM_FLAGS.contains(pair[0]) && !SERVER_FLAGS.contains(pair[0])) {
        throw new IllegalArgumentException("unknown flag " + arguments[i]);
      }
      boolean alone = i + 1 == arguments.length || arguments[i + 1].startsWith("--");
      flags.put(pair[0], pair.length > 1 ? pair[1] : alone ? "true" : arguments[++i]);
    }
    return flags;
  }

  static ServerCredentials credentials(Map<String, String> flags) throws IOException {
    if (!flags.containsKey("tls-cert")) return InsecureServerCredentials.create();
    TlsServerCredentials.Builder tls = TlsServerCredentials.newBuilder()
        .keyManager(new File(flags.get("tls-cert")), new File(flags.get("tls-key")));
    if (flags.containsKey("tls-ca")) {
      tls.trustManager(new File(flags.get("tls-ca"))).clientAuth(TlsServerCredentials.ClientAuth.REQUIRE);
    }
    return tls.build();
  }

  public static void main(String[] arguments) throws Exception {
    Map<String, String> flags = parse(arguments);
    io.grpc.Server server = NettyServerBuilder
        .forAddress(new InetSocketAddress("127.0.0.1", (int) number(flags, "port", 0)), credentials(flags))
        .addService(new Server(flags)).intercept(new Caller()).executor(Executors.newCachedThreadPool()).build();
    server.start();
    say("PORT " + server.getPort());
    server.awaitTermination();
  }
}
