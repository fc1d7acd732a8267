// Reads calls as lines of JSON from the standard input, makes them by reflection on generated proxies, and writes the
// answers. Arguments: the SOAP version, then NAME=ADDRESS of each contract; its proxies are in NAME.dll.
using System;
using System.Collections;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Text;
using System.Web.Script.Serialization;

using Members = System.Collections.Generic.Dictionary<string, object>;

public class Fault : Exception
{
    public readonly Members Description;

    public Fault(string code, string text, string detail)
    {
        Description = new Members { { "code", code }, { "text", text }, { "detail", detail == "" ? null : detail } };
    }
}

public static class Driver
{
    static readonly JavaScriptSerializer Json = new JavaScriptSerializer();

    public static void Main(string[] arguments)
    {
        var addresses = arguments.Skip(1).Select(part => part.Split(new[] { '=' }, 2)).ToDictionary(p => p[0], p => p[1]);
        var output = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false)) { AutoFlush = true };
        for (string line; (line = Console.In.ReadLine()) != null;)
            output.WriteLine(Json.Serialize(Answer(Json.Deserialize<Members>(line), arguments[0], addresses)));
    }

    static Members Answer(Members request, string version, IDictionary<string, string> addresses)
    {
        var service = (string)request["service"];
        var address = (string)request["address"] ?? addresses[service].Split('?')[0];
        try
        {
            var proxies = Assembly.LoadFrom(service + ".dll");
            return new Members { { "value", FromProxy(Stack.Call(proxies, request, address, version)) } };
        }
        catch (Fault fault)
        {
            return new Members { { "fault", fault.Description } };
        }
        catch (Exception error)
        {
            return new Members { { "error", error.ToString() } };
        }
    }

    /// Calls a method of a proxy with the arguments of a request.
    public static object Invoke(object proxy, Members request)
    {
        var method = proxy.GetType().GetMethod((string)request["operation"]);
        var given = ((Members)request["arguments"]).Values.Zip(method.GetParameters(), (v, p) => ToProxy(v, p.ParameterType));
        try
        {
            return method.Invoke(proxy, given.ToArray());
        }
        catch (TargetInvocationException error)
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Capture(error.InnerException).Throw();
            throw;
        }
    }

    public static object ToProxy(object value, Type type)
    {
        var members = value as Members;
        if (members == null)
            return value == null || type == typeof(object) ? value : Convert.ChangeType(value, Nullable.GetUnderlyingType(type) ?? type);
        if (members.ContainsKey("of"))
            return ToList((IEnumerable)members["items"], type);
        if (members.ContainsKey("xsi:type"))
            type = type.Assembly.GetType((string)members["xsi:type"]);
        var made = Activator.CreateInstance(type);
        foreach (var member in members.Where(member => member.Key != "xsi:type"))
            SetMember(made, member.Key, member.Value);
        return made;
    }

    public static void SetMember(object made, string name, object value)
    {
        var property = made.GetType().GetProperty(name);
        property.SetValue(made, ToProxy(value, property.PropertyType), null);
        // Numbers that may be absent come with a switch of their own.
        var specified = made.GetType().GetProperty(name + "Specified");
        if (specified != null)
            specified.SetValue(made, value != null, null);
    }

    static object ToList(IEnumerable items, Type type)
    {
        if (!type.IsArray)
        {
            var list = (IList)Activator.CreateInstance(type);
            var itemType = type.BaseType.GetGenericArguments()[0];
            foreach (var item in items)
                list.Add(ToProxy(item, itemType));
            return list;
        }
        var made = items.Cast<object>().Select(item => ToProxy(item, type.GetElementType())).ToArray();
        var array = Array.CreateInstance(type.GetElementType(), made.Length);
        made.CopyTo(array, 0);
        return array;
    }

    static object FromProxy(object value)
    {
        if (value == null || value is string || value.GetType().IsPrimitive || value is decimal)
            return value;
        if (value is DateTime)
            return ((DateTime)value).ToString("s");
        if (value is IEnumerable)
            return ((IEnumerable)value).Cast<object>().Select(FromProxy).ToList();
        var members = new Members { { "xsi:type", value.GetType().Name } };
        foreach (var property in value.GetType().GetProperties())
            if (property.Name != "ExtensionData" && !property.Name.EndsWith("Specified"))
                members[property.Name] = FromProxy(property.GetValue(value, null));
        return members;
    }
}
