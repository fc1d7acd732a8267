// Calls through the clients of Mono's `svcutil`, the form that WCF programs have.
using System;
using System.Reflection;
using System.ServiceModel;
using System.ServiceModel.Channels;
using System.Xml;

using Members = System.Collections.Generic.Dictionary<string, object>;

public static class Stack
{
    public static object Call(Assembly proxies, Members request, string address, string version)
    {
        var type = proxies.GetType(request["service"] + "SoapClient");
        var client = Activator.CreateInstance(type, MakeBinding(version), new EndpointAddress(address));
        var channel = (IClientChannel)type.GetProperty("InnerChannel").GetValue(client, null);
        try
        {
            using (new OperationContextScope(channel))
            {
                if (request["header"] != null)
                    OperationContext.Current.OutgoingMessageHeaders.Add(new MemberHeader(request));
                return Driver.Invoke(client, request);
            }
        }
        catch (FaultException fault)
        {
            throw new Fault(fault.Code.Name, fault.Message, ReadDetail(fault.CreateMessageFault()));
        }
    }

    static Binding MakeBinding(string version)
    {
        if (version == "1.1")
            return new BasicHttpBinding();
        var soap12 = MessageVersion.CreateVersion(EnvelopeVersion.Soap12, AddressingVersion.None);
        var encoding = new TextMessageEncodingBindingElement(soap12, System.Text.Encoding.UTF8);
        return new CustomBinding(encoding, new HttpTransportBindingElement());
    }

    static string ReadDetail(MessageFault fault)
    {
        if (!fault.HasDetail)
            return "";
        var detail = new XmlDocument();
        detail.Load(fault.GetReaderAtDetailContents());
        return detail.InnerText;
    }
}

/// The header of a request, which the generated clients have no parameter for.
class MemberHeader : MessageHeader
{
    readonly string ns;
    readonly Members header;

    public MemberHeader(Members request)
    {
        ns = (string)request["namespace"];
        header = (Members)request["header"];
    }

    public override string Name { get { return (string)header["name"]; } }

    public override string Namespace { get { return ns; } }

    protected override void OnWriteHeaderContents(XmlDictionaryWriter writer, MessageVersion version)
    {
        foreach (var member in (Members)header["members"])
            if (member.Value != null)
                writer.WriteElementString(member.Key, ns, (string)member.Value);
    }
}
