package bench;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;
import javax.jws.WebMethod;
import javax.jws.WebParam;
import javax.jws.WebResult;
import javax.jws.WebService;
import javax.xml.ws.Endpoint;

/** The JAX-WS reference implementation: java bench.Bench PORT ROWS. */
@WebService(serviceName = "Bench", portName = "BenchSoap", targetNamespace = Bench.NAMESPACE)
public class Bench {
    static final String NAMESPACE = "http://bench.example/";
    private static final int THREADS = 8;
    private static List<String[]> table;

    @WebMethod(operationName = "Name", action = NAMESPACE + "Name")
    @WebResult(name = "NameResult", targetNamespace = NAMESPACE)
    public String name(
            @WebParam(name = "number", targetNamespace = NAMESPACE) int number,
            @WebParam(name = "Authentication", targetNamespace = NAMESPACE, header = true) Authentication header) {
        checkPassword(header);
        return "number " + number;
    }

    @WebMethod(operationName = "ListRows", action = NAMESPACE + "ListRows")
    @WebResult(name = "ListRowsResult", targetNamespace = NAMESPACE)
    public ArrayOfRow listRows(
            @WebParam(name = "count", targetNamespace = NAMESPACE) int count,
            @WebParam(name = "Authentication", targetNamespace = NAMESPACE, header = true) Authentication header) {
        checkPassword(header);
        ArrayOfRow found = new ArrayOfRow();
        table.stream().limit(count).map(Row::new).forEach(found.rows::add);
        return found;
    }

    private static void checkPassword(Authentication header) {
        if (header == null || !"a1".equals(header.user) || !"secret".equals(header.password)) {
            throw new IllegalArgumentException("The password is wrong.");
        }
    }

    public static void main(String[] arguments) throws IOException {
        table = Files.readAllLines(Path.of(arguments[1])).stream()
                .map(line -> line.split("\t"))
                .collect(Collectors.toList());
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])), 0);
        server.setExecutor(Executors.newFixedThreadPool(THREADS));
        Endpoint.create(new Bench()).publish(server.createContext("/Bench.asmx"));
        server.start();
    }
}
