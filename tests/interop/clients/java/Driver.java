import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.Array;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Reads calls as lines of JSON, makes them by reflection on generated classes, and writes the answers. */
final class Driver {
    private static final Gson JSON = new GsonBuilder().serializeNulls().create();

    interface Stack {
        Object call(JsonObject request) throws Exception;
    }

    static final class Fault extends Exception {
        private final Map<String, Object> description = new LinkedHashMap<>();

        Fault(String code, String text, String detail) {
            description.put("code", code);
            description.put("text", text);
            description.put("detail", detail.isEmpty() ? null : detail);
        }
    }

    private Driver() {}

    static void serve(Stack stack) throws Exception {
        PrintStream output = new PrintStream(System.out, true, "UTF-8");
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = input.readLine()) != null; ) {
            output.println(JSON.toJson(answer(stack, JSON.fromJson(line, JsonObject.class))));
        }
    }

    private static Map<String, Object> answer(Stack stack, JsonObject request) {
        Map<String, Object> answer = new LinkedHashMap<>();
        try {
            answer.put("value", fromJava(stack.call(request)));
        } catch (Fault fault) {
            answer.put("fault", fault.description);
        } catch (Exception error) {
            StringWriter trace = new StringWriter();
            error.printStackTrace(new PrintWriter(trace));
            answer.put("error", trace.toString());
        }
        return answer;
    }

    /** Calls a method of a stub with the arguments of a request and, where it takes one more, a header. */
    static Object invoke(Object stub, Class<?> type, JsonObject request, JsonElement header) throws Exception {
        Method method = find(type, request.get("operation").getAsString());
        List<JsonElement> given = new ArrayList<>(request.getAsJsonObject("arguments").asMap().values());
        if (given.size() < method.getParameterCount()) {
            given.add(header);
        }
        Object[] arguments = new Object[given.size()];
        for (int place = 0; place < arguments.length; place++) {
            arguments[place] = toJava(given.get(place), method.getParameterTypes()[place]);
        }
        try {
            return method.invoke(stub, arguments);
        } catch (InvocationTargetException error) {
            throw (Exception) error.getCause();
        }
    }

    private static Method find(Class<?> type, String name) {
        // JAX-WS leaves out underscores.
        String plain = name.replace("_", "");
        for (Method method : type.getMethods()) {
            if (method.getName().replace("_", "").equalsIgnoreCase(plain)) {
                return method;
            }
        }
        throw new IllegalArgumentException(name);
    }

    private static Object toJava(JsonElement value, Class<?> type) throws Exception {
        if (value == null || value.isJsonNull()) {
            return null;
        }
        if (!value.isJsonObject()) {
            return JSON.fromJson(value, type == Object.class ? typeOf(value.getAsJsonPrimitive()) : type);
        }
        JsonObject members = value.getAsJsonObject();
        if (members.has("of")) {
            return toList(members, type);
        }
        if (members.has("xsi:type")) {
            type = Class.forName(type.getPackageName() + "." + members.get("xsi:type").getAsString());
        }
        Object made = type.getConstructor().newInstance();
        for (Map.Entry<String, JsonElement> member : members.entrySet()) {
            if (!member.getKey().equals("xsi:type") && !member.getValue().isJsonNull()) {
                Method setter = find(type, "set" + member.getKey());
                setter.invoke(made, toJava(member.getValue(), setter.getParameterTypes()[0]));
            }
        }
        return made;
    }

    /** Returns the class that a program would take for a value where any will do. */
    private static Class<?> typeOf(JsonPrimitive value) {
        return value.isBoolean() ? Boolean.class : value.isNumber() ? Integer.class : String.class;
    }

    private static Object toList(JsonObject list, Class<?> type) throws Exception {
        List<JsonElement> items = list.getAsJsonArray("items").asList();
        if (type.isArray()) {
            Object array = Array.newInstance(type.getComponentType(), items.size());
            for (int place = 0; place < items.size(); place++) {
                Array.set(array, place, toJava(items.get(place), type.getComponentType()));
            }
            return array;
        }
        Object made = type.getConstructor().newInstance();
        Method getter = find(type, "get" + list.get("of").getAsString());
        Class<?> itemType = Class.forName(type.getPackageName() + "." + list.get("of").getAsString());
        @SuppressWarnings("unchecked")
        Collection<Object> filled = (Collection<Object>) getter.invoke(made);
        for (JsonElement item : items) {
            filled.add(toJava(item, itemType));
        }
        return made;
    }

    private static Object fromJava(Object value) throws Exception {
        if (value == null || value instanceof String || value instanceof Number || value instanceof Boolean) {
            return value;
        }
        List<Object> items = new ArrayList<>();
        if (value.getClass().isArray()) {
            for (int place = 0; place < Array.getLength(value); place++) {
                items.add(fromJava(Array.get(value, place)));
            }
            return items;
        }
        if (value instanceof Collection) {
            for (Object item : (Collection<?>) value) {
                items.add(fromJava(item));
            }
            return items;
        }
        return describe(value);
    }

    private static Map<String, Object> describe(Object bean) throws Exception {
        Map<String, Object> members = new LinkedHashMap<>();
        members.put("xsi:type", bean.getClass().getSimpleName());
        for (Method method : bean.getClass().getMethods()) {
            boolean reads = method.getName().startsWith("get") && method.getParameterCount() == 0;
            if (reads && method.getDeclaringClass().getPackage() == bean.getClass().getPackage()
                    && !method.getName().equals("getTypeDesc")) {
                String name = method.getName().substring(3);
                members.put(name.substring(0, 1).toLowerCase() + name.substring(1), fromJava(method.invoke(bean)));
            }
        }
        return members;
    }
}
