/** Starts the Trino server; the jar with Trino's own starter isn't on Maven Central. */
public final class StandInServer {
    private StandInServer() {}

    public static void main(String[] args) {
        new io.trino.server.Server().start(args[0]);
    }
}
