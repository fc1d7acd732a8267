package bench;

import java.util.ArrayList;
import java.util.List;
import javax.xml.bind.annotation.XmlElement;
import javax.xml.bind.annotation.XmlType;

@XmlType(name = "ArrayOfRow")
public class ArrayOfRow {
    @XmlElement(name = "Row") public List<Row> rows = new ArrayList<>();
}
