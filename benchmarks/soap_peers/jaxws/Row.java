package bench;

import javax.xml.bind.annotation.XmlElement;
import javax.xml.bind.annotation.XmlType;

@XmlType(name = "Row", propOrder = {"id", "name", "email", "status", "created"})
public class Row {
    @XmlElement(name = "Id") public int id;
    @XmlElement(name = "Name") public String name;
    @XmlElement(name = "Email") public String email;
    @XmlElement(name = "Status") public String status;
    @XmlElement(name = "Created") public String created;

    public Row() {}

    public Row(String[] cells) {
        id = Integer.parseInt(cells[0]);
        name = cells[1];
        email = cells[2];
        status = cells[3];
        created = cells[4];
    }
}
