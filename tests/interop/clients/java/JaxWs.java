import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.net.URL;
import java.util.HashMap;
import java.util.Map;
import javax.xml.namespace.QName;
import javax.xml.soap.SOAPFault;
import javax.xml.ws.BindingProvider;
import javax.xml.ws.Service;
import javax.xml.ws.soap.SOAPFaultException;

/**
 * Calls through what `wsimport` generated, a package for each service. Arguments: the SOAP version, then NAME=ADDRESS
 * of each contract.
 */
public final class JaxWs {
    private final Map<String, Service> services = new HashMap<>();
    private final String port;

    private JaxWs(String[] arguments) throws Exception {
        port = arguments[0].equals("1.2") ? "Soap12" : "Soap";
        for (int place = 1; place < arguments.length; place++) {
            String[] contract = arguments[place].split("=", 2);
            Class<?> type = Class.forName("jaxws." + contract[0].toLowerCase() + "." + contract[0]);
            services.put(contract[0], (Service) type.getConstructor(URL.class).newInstance(new URL(contract[1])));
        }
    }

    public static void main(String[] arguments) throws Exception {
        Driver.serve(new JaxWs(arguments)::call);
    }

    private Object call(JsonObject request) throws Exception {
        String name = request.get("service").getAsString();
        Class<?> type = Class.forName("jaxws." + name.toLowerCase() + "." + name + "Soap");
        QName chosen = new QName(request.get("namespace").getAsString(), name + port);
        Object stub = services.get(name).getPort(chosen, type);
        JsonElement address = request.get("address");
        if (!address.isJsonNull()) {
            ((BindingProvider) stub).getRequestContext()
                    .put(BindingProvider.ENDPOINT_ADDRESS_PROPERTY, address.getAsString());
        }
        JsonElement header = request.get("header");
        try {
            JsonElement members = header.isJsonNull() ? header : header.getAsJsonObject().get("members");
            return Driver.invoke(stub, type, request, members);
        } catch (SOAPFaultException error) {
            SOAPFault fault = error.getFault();
            String detail = fault.getDetail() == null ? "" : fault.getDetail().getTextContent();
            throw new Driver.Fault(fault.getFaultCode(), fault.getFaultString(), detail);
        }
    }
}
