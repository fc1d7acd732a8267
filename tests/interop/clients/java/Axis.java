import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.net.URL;
import java.util.HashMap;
import java.util.Map;
import org.apache.axis.AxisFault;
import org.apache.axis.client.Service;
import org.apache.axis.client.Stub;
import org.apache.axis.message.SOAPHeaderElement;
import org.w3c.dom.Element;

/**
 * Calls through what Axis 1.4's `WSDL2Java` generated, a package for each service. Arguments: the SOAP version, then
 * NAME=ADDRESS of each contract.
 */
public final class Axis {
    private final Map<String, String> addresses = new HashMap<>();

    private Axis(String[] arguments) {
        for (int place = 1; place < arguments.length; place++) {
            String[] contract = arguments[place].split("=", 2);
            addresses.put(contract[0], contract[1].split("\\?")[0]);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Driver.serve(new Axis(arguments)::call);
    }

    private Object call(JsonObject request) throws Exception {
        String name = request.get("service").getAsString();
        String folder = "axis." + name.toLowerCase() + ".";
        Service locator = (Service) Class.forName(folder + name + "Locator").getConstructor().newInstance();
        JsonElement given = request.get("address");
        URL address = new URL(given.isJsonNull() ? addresses.get(name) : given.getAsString());
        Object stub = locator.getClass().getMethod("get" + name + "Soap", URL.class).invoke(locator, address);
        if (!request.get("header").isJsonNull()) {
            addHeader((Stub) stub, request.get("namespace").getAsString(), request.getAsJsonObject("header"));
        }
        try {
            return Driver.invoke(stub, Class.forName(folder + name + "Soap_PortType"), request, null);
        } catch (AxisFault fault) {
            StringBuilder detail = new StringBuilder();
            for (Element element : fault.getFaultDetails()) {
                // Axis adds elements of its own.
                if (!"http://xml.apache.org/axis/".equals(element.getNamespaceURI())) {
                    detail.append(element.getTextContent());
                }
            }
            throw new Driver.Fault(fault.getFaultCode().getLocalPart(), fault.getFaultString(), detail.toString());
        }
    }

    private static void addHeader(Stub stub, String namespace, JsonObject header) throws Exception {
        SOAPHeaderElement element = new SOAPHeaderElement(namespace, header.get("name").getAsString());
        element.setActor(null);
        for (Map.Entry<String, JsonElement> member : header.getAsJsonObject("members").entrySet()) {
            if (!member.getValue().isJsonNull()) {
                element.addChildElement(member.getKey(), "", namespace).addTextNode(member.getValue().getAsString());
            }
        }
        stub.setHeader(element);
    }
}
