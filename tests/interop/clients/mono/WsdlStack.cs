// Calls through the proxies of Mono's `wsdl`, the form that .NET programs of old have.
using System;
using System.Reflection;
using System.Web.Services.Protocols;

using Members = System.Collections.Generic.Dictionary<string, object>;

public static class Stack
{
    public static object Call(Assembly proxies, Members request, string address, string version)
    {
        var proxy = (SoapHttpClientProtocol)Activator.CreateInstance(proxies.GetType((string)request["service"]));
        if (request["address"] != null)
            proxy.Url = address;
        proxy.SoapVersion = version == "1.2" ? SoapProtocolVersion.Soap12 : SoapProtocolVersion.Soap11;
        SetHeader(proxy, (Members)request["header"]);
        try
        {
            return Driver.Invoke(proxy, request);
        }
        catch (SoapException fault)
        {
            throw new Fault(fault.Code.Name, fault.Message, fault.Detail == null ? "" : fault.Detail.InnerText);
        }
    }

    static void SetHeader(object proxy, Members header)
    {
        if (header == null)
            return;
        var property = proxy.GetType().GetProperty(header["name"] + "Value");
        property.SetValue(proxy, Driver.ToProxy(header["members"], property.PropertyType), null);
    }
}
