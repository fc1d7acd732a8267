<%@ WebService Language="C#" Class="Types" %>

using System;
using System.Text;
using System.Web.Services;
using System.Web.Services.Protocols;
using System.Xml;
using System.Xml.Serialization;

[XmlInclude(typeof(Circle))]
[XmlInclude(typeof(Ring))]
[XmlInclude(typeof(Square))]
public abstract class Shape
{
    public string Name;
}

public class Circle : Shape
{
    public double Radius;
}

public class Ring : Circle
{
    public double Hole;
}

public class Square : Shape
{
    public long Side;
}

public class Parcel
{
    public Shape Content;

    [XmlElement(IsNullable = true)]
    public string Note;

    public int? Weight;

    [XmlElement("Tag")]
    public string[] Tags;

    public int[] Numbers;
}

[WebService(Namespace = "http://oracle.example/", Description = "Has every kind of type.")]
public class Types : WebService
{
    // "null", or the type and the members, where null is ~.
    [WebMethod]
    public string Describe(Shape shape)
    {
        return DescribeShape(shape);
    }

    [WebMethod]
    public string DescribeAll(Shape[] shapes)
    {
        if (shapes == null)
            return "null";
        StringBuilder text = new StringBuilder();
        foreach (Shape shape in shapes)
            text.Append("[" + DescribeShape(shape) + "]");
        return text.ToString();
    }

    [WebMethod]
    public string DescribeParcel(Parcel parcel)
    {
        if (parcel == null)
            return "null";
        string tags = parcel.Tags == null ? "~" : string.Join(",", parcel.Tags);
        string numbers = parcel.Numbers == null ? "~" : string.Join(",", parcel.Numbers);
        string weight = parcel.Weight == null ? "~" : parcel.Weight.ToString();
        return DescribeShape(parcel.Content) + "/" + (parcel.Note ?? "~") + "/" + weight + "/" + tags + "/" + numbers;
    }

    [WebMethod]
    public Shape Make(string kind)
    {
        return MakeShape(kind);
    }

    // One shape for each word.
    [WebMethod]
    public Shape[] MakeAll(string kinds)
    {
        return Array.ConvertAll((kinds ?? "").Split(' '), MakeShape);
    }

    [WebMethod]
    public Parcel Pack(bool full)
    {
        if (!full)
            return new Parcel();
        return new Parcel {
            Content = MakeShape("Ring"),
            Note = "",
            Weight = 3,
            Tags = new string[] { "a", "", "b&c" },
            Numbers = new int[] { 1, -2 }
        };
    }

    [WebMethod]
    public long Count(long number)
    {
        return number;
    }

    [WebMethod]
    public double Measure(double number)
    {
        return number;
    }

    [WebMethod]
    public decimal Price(decimal number)
    {
        return number;
    }

    [WebMethod]
    public byte[] Store(byte[] data)
    {
        return data;
    }

    private static Shape MakeShape(string kind)
    {
        if (kind == "Circle")
            return new Circle { Name = "c", Radius = 1.5 };
        if (kind == "Ring")
            return new Ring { Name = "r", Radius = 2, Hole = 0.25 };
        if (kind == "Square")
            return new Square { Side = 4 };
        return null;
    }

    private static string DescribeShape(Shape shape)
    {
        if (shape == null)
            return "null";
        string text = shape.GetType().Name + " " + (shape.Name ?? "~");
        if (shape is Circle)
            text += " " + XmlConvert.ToString(((Circle) shape).Radius);
        if (shape is Ring)
            text += " " + XmlConvert.ToString(((Ring) shape).Hole);
        if (shape is Square)
            text += " " + ((Square) shape).Side;
        return text;
    }
}
