import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.GlobalConfiguration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;

/**
 * Runs the statements of SQL files on a cluster, as {@code sql-client.sh -i INIT -f FILE} does; the jar of Flink's own client isn't on
 * Maven Central. The first statement that fails ends it with 1.
 */
public final class StandInSqlClient {
    private static final Pattern SET = Pattern.compile("(?is)SET\\s+'([^']+)'\\s*=\\s*'([^']*)'");

    private StandInSqlClient() {}

    public static void main(String[] args) throws Exception {
        List<String> files = new ArrayList<>();
        for (int at = 0; at < args.length; at += 2) {
            if (!List.of("-i", "--init", "-f", "--file").contains(args[at]) || at + 1 == args.length) {
                System.err.println("usage: sql-client.sh [-i INIT] -f FILE");
                System.exit(1);
            }
            // Whatever the order on the command line, the setting-up comes first.
            files.add(args[at].startsWith("-i") || args[at].equals("--init") ? 0 : files.size(), args[at + 1]);
        }
        Configuration settings = GlobalConfiguration.loadConfiguration();
        TableEnvironment environment = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(settings).build());
        for (String file : files) {
            for (String statement : statements(Files.readString(Path.of(file)))) {
                System.out.println("[INFO] " + statement.lines().findFirst().orElse(""));
                try {
                    run(environment, statement);
                } catch (Exception failure) {
                    System.err.println("[ERROR] Could not execute SQL statement:\n" + statement);
                    failure.printStackTrace();
                    System.exit(1);
                }
            }
        }
    }

    private static void run(TableEnvironment environment, String statement) {
        Matcher set = SET.matcher(statement);
        if (set.matches()) {
            environment.getConfig().set(set.group(1), set.group(2));
            return;
        }
        TableResult result = environment.executeSql(statement);
        result.getJobClient().ifPresent(job -> System.out.println("Job ID: " + job.getJobID()));
    }

    /** The statements of a file, without comments; those of a statement set are one. */
    static List<String> statements(String text) {
        List<String> found = new ArrayList<>();
        StringBuilder statement = new StringBuilder();
        char quote = 0;
        for (int at = 0; at < text.length(); at++) {
            char next = text.charAt(at);
            if (quote == 0 && text.startsWith("--", at)) {
                int end = text.indexOf('\n', at);
                at = end < 0 ? text.length() : end - 1;
            } else if (quote == 0 && next == ';' && isWhole(statement.toString())) {
                add(found, statement);
            } else {
                if (quote == next) {
                    quote = 0;
                } else if (quote == 0 && (next == '\'' || next == '`')) {
                    quote = next;
                }
                statement.append(next);
            }
        }
        add(found, statement);
        return found;
    }

    private static boolean isWhole(String statement) {
        String upper = statement.strip().toUpperCase(Locale.ROOT);
        return !upper.matches("(?s)EXECUTE\\s+STATEMENT\\s+SET\\b.*") || upper.matches("(?s).*\\bEND");
    }

    private static void add(List<String> found, StringBuilder statement) {
        if (!statement.toString().isBlank()) {
            found.add(statement.toString().strip());
        }
        statement.setLength(0);
    }
}
