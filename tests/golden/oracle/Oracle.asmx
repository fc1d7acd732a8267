<%@ WebService Language="C#" Class="Oracle" %>

using System;
using System.Text;
using System.Web.Services;
using System.Web.Services.Protocols;
using System.Xml;

public class Authentication : SoapHeader
{
    public string User;
    public string Password;
    public string encType;
}

public class Option
{
    public string Key;
    public object Value;
}

public class Row
{
    public int Number;
    public string Name;
    public string Note;
    public DateTime At;
    public bool Active;
}

[WebService(Namespace = "http://oracle.example/", Description = "Answers as the platform does.")]
public class Oracle : WebService
{
    public Authentication Header;

    [WebMethod]
    [SoapHeader("Header")]
    public string Echo(string text)
    {
        return text;
    }

    [WebMethod]
    [SoapHeader("Header")]
    public int Add(int a, int b)
    {
        return a + b;
    }

    [WebMethod]
    [SoapHeader("Header")]
    public bool Flag(bool flag)
    {
        return flag;
    }

    [WebMethod]
    [SoapHeader("Header")]
    public DateTime When(DateTime at)
    {
        return at;
    }

    // "null", or the options as [key=value], where null is ~.
    [WebMethod]
    [SoapHeader("Header")]
    public string Options(Option[] options)
    {
        if (options == null)
            return "null";
        StringBuilder text = new StringBuilder();
        foreach (Option option in options)
            text.Append(option == null ? "[~]" : "[" + (option.Key ?? "~") + "=" + Describe(option.Value) + "]");
        return text.ToString();
    }

    [WebMethod]
    [SoapHeader("Header")]
    public Row[] Rows(int count)
    {
        if (count < 0)
            return null;
        Row[] rows = new Row[count];
        for (int number = 0; number < count; number++)
            rows[number] = new Row {
                Number = number,
                Name = number == 0 ? "" : "Row <" + number + ">",
                Note = number % 2 == 0 ? null : "Citt\u00e0",
                At = new DateTime(2024, 2, 29, 12, 30, 0).AddDays(number),
                Active = number % 2 == 0
            };
        return rows;
    }

    [WebMethod]
    [SoapHeader("Header")]
    public string Fail()
    {
        throw new InvalidOperationException("The oracle fails.");
    }

    [WebMethod]
    [SoapHeader("Header")]
    public string Nothing()
    {
        return null;
    }

    // "none", or user, password and encType, where null is ~.
    [WebMethod]
    [SoapHeader("Header")]
    public string HeaderUser()
    {
        if (Header == null)
            return "none";
        return (Header.User ?? "~") + "/" + (Header.Password ?? "~") + "/" + (Header.encType ?? "~");
    }

    private static string Describe(object value)
    {
        if (value == null)
            return "~";
        if (value is bool)
            return XmlConvert.ToString((bool) value);
        XmlNode[] nodes = value as XmlNode[];
        // An empty element without a type is a bare object.
        if (nodes == null)
            return value.GetType() == typeof(object) ? "" : value.ToString();
        StringBuilder text = new StringBuilder();
        foreach (XmlNode node in nodes)
            if (!(node is XmlAttribute))
                text.Append(node.InnerText);
        return text.ToString();
    }
}
